//! Ids of archived messages (XEP-0359, XEP-0313): a position in an archive, encrypted so that it reveals
//! nothing (XEP-0359 §6). The server that made it can read it back, even when the message itself was lost
//! (promise.md 7).

use aes::Aes128;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Makes and reads ids with one server's key.
#[derive(Clone)]
pub struct ArchiveIds(Aes128);

impl ArchiveIds {
    /// The key is a secret of the server, made once and stored.
    pub fn new(key: &[u8; 16]) -> Self {
        Self(Aes128::new(key.into()))
    }

    /// The id of the message at this position of this archive: 22 characters.
    pub fn seal(&self, archive: i64, position: i64) -> String {
        let mut block = [0; 16];
        let (position_bytes, rest) = block.split_at_mut(8);
        position_bytes.copy_from_slice(&position.to_be_bytes());
        let (archive_bytes, _check) = rest.split_at_mut(5);
        // 40 bits for the archive, which may be negative; the rest of the block proves that the id is ours.
        archive_bytes.copy_from_slice(archive.to_be_bytes().split_at(3).1);
        let mut block = block.into();
        self.0.encrypt_block(&mut block);
        URL_SAFE_NO_PAD.encode(block)
    }

    /// The position, if this server made the id for this archive. A guess succeeds once in 2^64: the id is
    /// checked by 24 bits and by the 40 bits of the archive.
    pub fn open(&self, archive: i64, id: &str) -> Option<i64> {
        let sealed: [u8; 16] = URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()?;
        let mut block = sealed.into();
        self.0.decrypt_block(&mut block);
        let (position, rest) = block.split_at(8);
        let (of, check) = rest.split_at(5);
        let ours = of == archive.to_be_bytes().split_at(3).1 && check == [0; 3];
        ours.then(|| position.try_into().map(i64::from_be_bytes).ok()).flatten()
    }
}

impl std::fmt::Debug for ArchiveIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ArchiveIds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_its_place_in_its_archive_only() {
        let ids = ArchiveIds::new(&[7; 16]);
        for (archive, position) in
            [(1, 1), (1, 2), (9_999, i64::MAX), (-1, 1), (1 - (1 << 39), 2), ((1 << 39) - 1, 0)]
        {
            let id = ids.seal(archive, position);
            assert_eq!((id.len(), ids.open(archive, &id)), (22, Some(position)));
            assert_eq!(ids.open(archive + 1, &id), None);
            assert_eq!(ids.open(archive.wrapping_neg(), &id), None);
            assert_eq!(ArchiveIds::new(&[8; 16]).open(archive, &id), None);
        }
        for garbage in
            ["", "x", "AAAAAAAAAAAAAAAAAAAAAA", "28482-98726-73623", "é", "=".repeat(22).as_str()]
        {
            assert_eq!(ids.open(1, garbage), None, "{garbage}");
        }
    }
}
