//! What `stonechat status` says of the database.

use crate::store::Load;

/// The load of the database, readable for people and scripts.
pub(super) fn status_lines(load: &Load) -> Vec<String> {
    let Load { queued, bytes, waiting, waited, full, refused, refusing } = load;
    let disk = if *refusing { "takes no writes" } else { "takes writes" };
    vec![
        format!("disk: {disk}"),
        format!(
            "writes on the way: {queued}, {} KiB; in line behind them: {waiting}",
            bytes / 1024
        ),
        format!("since the start, writes that stood in line: {waited}"),
        format!("since the start, messages refused as the disk took no writes: {refused}"),
        format!("since the start, work left undone as too much waited: {full}"),
    ]
}
