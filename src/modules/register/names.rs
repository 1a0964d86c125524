//! Which names strangers may take.

use super::config::Config;
use super::lookalike;
use super::refused::Refused;
use crate::jid::prep;

/// Whether this localpart, in normal form, may be registered in-band. All rules about names are applied
/// here; the operator's commands do not use them.
pub(super) fn allowed(config: &Config, local: &str) -> Result<(), Refused> {
    let reserved = config.reserved_names.iter().filter_map(|name| prep::localpart(name).ok());
    for name in reserved {
        if name == local {
            return Err(Refused::Reserved);
        }
        if !config.lookalikes && lookalike::is_like(local, &name) {
            return Err(Refused::LooksReserved);
        }
    }
    if !config.lookalikes && lookalike::mixes_scripts(local) {
        return Err(Refused::MixesScripts);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::config::RESERVED;
    use super::*;

    /// Compared like addresses (RFC 7622 §3.3), in whatever form the list is written.
    #[test]
    fn reserved_names_are_refused_in_their_normal_form() {
        let mut config = Config::default();
        config.reserved_names.push("BÜRO".to_owned());
        for (name, free) in [
            ("admin", false),
            ("Admin", false),
            ("\u{ff41}dmin", false),
            ("büro", false),
            ("admin2", true),
            ("romeo", true),
        ] {
            let local = prep::localpart(name).unwrap();
            assert_eq!(allowed(&config, &local).is_ok(), free, "{name}");
        }
        config.reserved_names.clear();
        assert!(allowed(&config, "admin").is_ok());
    }

    #[test]
    fn the_list_is_in_normal_form_and_in_order() {
        assert!(RESERVED.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(RESERVED.iter().all(|name| prep::localpart(name).unwrap() == *name));
    }
}
