"""The correct worker, given messages that are no chunks."""

import worker_2

worker_2.main()
