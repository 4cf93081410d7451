"""At a start takes clients that are complete for finished, although their results may be unsent."""

import worker_2


class Planted(worker_2.Worker):
    def run(self) -> None:
        for client_id in self.manager.rebuild_state().ready:
            self.manager.mark_client_ready(client_id)
        super().run()


worker_2.Worker = Planted
worker_2.main()
