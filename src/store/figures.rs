//! What is measured of the store; the load is the one that `stonechat status` shows.

use super::Store;
use super::line::Load;
use crate::base::figures::Figures;

impl Store {
    /// Adds the figures of the database and its queues.
    pub fn figures(&self, out: &mut Figures) {
        let Load { queued, bytes, waiting, waited, full, refused, refusing } = self.load();
        let commits = self.commits();
        out.histogram(
            "stonechat_commit_seconds",
            "How long commits of the database took, each for a batch of writes.",
            commits.spread(),
        );
        out.counter("stonechat_commit_failures", "Commits that failed, with all writes in them.")
            .is(commits.failed());
        out.counter("stonechat_writes", "Writes that were committed.").is(commits.jobs());
        out.gauge("stonechat_writes_queued", "Writes that wait for the database's writer.")
            .is(queued as u64);
        out.gauge("stonechat_writes_queued_bytes", "Bytes of the writes that wait.")
            .is(bytes as u64);
        out.gauge(
            "stonechat_writers_waiting",
            "Tasks that wait in line because the queue of writes is half full.",
        )
        .is(waiting as u64);
        out.counter("stonechat_writers_waited", "Writes that had to stand in that line.")
            .is(waited);
        out.counter(
            "stonechat_writes_dropped",
            "Work of the server's own left undone because the queue of writes was full.",
        )
        .is(full);
        out.counter(
            "stonechat_messages_refused",
            "Messages refused because the database took no writes.",
        )
        .is(refused);
        out.gauge(
            "stonechat_database_writable",
            "1 while the database takes writes; 0 when the last one failed, as on a full disk.",
        )
        .is(u64::from(!refusing));
        out.gauge("stonechat_reads_queued", "Reads that wait for one of the database's readers.")
            .is(self.reads_waiting() as u64);
        out.gauge("stonechat_database_bytes", "Size of the database's files, by file.")
            .by("file", self.file_bytes());
    }
}
