//! Whether the disk of uploads has room: the messages of all, which are on it too, come first.

use std::path::Path;

/// Whether so many bytes more leave the reserve free. Where nobody can say it, there is.
pub(super) fn is_there(folder: &Path, bytes: u64, reserve: u64) -> bool {
    free(folder).is_none_or(|free| free >= reserve.saturating_add(bytes))
}

/// Bytes that the server may still write where the folder is, or will be.
pub(super) fn free(folder: &Path) -> Option<u64> {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let places = [folder, parent.unwrap_or(Path::new("."))];
    let disk = places.into_iter().find_map(|place| rustix::fs::statvfs(place).ok())?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        for place in [folder.path().to_owned(), folder.path().join("to-be-made")] {
            assert!(is_there(&place, 1, 0));
            assert!(!is_there(&place, 1, u64::MAX) && !is_there(&place, u64::MAX, 1));
            let free = free(&place).unwrap();
            assert!(!is_there(&place, free, free / 2 + 1));
        }
    }
}
