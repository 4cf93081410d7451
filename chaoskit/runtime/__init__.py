"""Where programs run. `base` is what the engine sees, `local` runs programs as processes of this machine."""
