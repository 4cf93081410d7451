"""The correct worker, given a client whose id is a path."""

import worker_2

worker_2.main()
