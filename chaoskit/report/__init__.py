"""Reports: pure functions from a `Report` to text. One module a format: terminal, junit, markdown, html (a package).

`sentence` says all of it in one, with `place`, `acts` and `wording` for what happened where. JSON is `Report.as_json`.
Nothing here touches a process, a clock or a file, so a saved run can be drawn again. All text that came from a program
passes through `clean`.
"""
