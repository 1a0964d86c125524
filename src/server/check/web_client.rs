//! The folder of a web client.

use crate::net::web::CONVERSE_SCRIPT;
use crate::server::config::{Config, Origins, Problem};

/// What is wrong with it, if somebody has named one.
pub fn fault(config: &Config, origins: &Origins) -> Option<Problem> {
    let folder = config.web.converse.as_ref()?;
    (!folder.join("dist").join(CONVERSE_SCRIPT).is_file()).then(|| Problem {
        what: format!(
            "there is no web client in {}: it has no dist/{CONVERSE_SCRIPT}",
            folder.display()
        ),
        place: origins.of("web.converse"),
        fix: "unpack one by `npm pack converse.js` and `stonechat web get-converse FILE.tgz`, or remove the key"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::{Inputs, load};

    #[test]
    fn a_folder_that_is_named_has_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let sets = vec![("web.converse".to_owned(), path)];
        let loaded = load(&Inputs { sets, ..Inputs::default() }).unwrap();
        let told = fault(&loaded.config, &loaded.origins).unwrap().to_string();
        assert!(told.contains("dist/converse.min.js") && told.contains("get-converse"), "{told}");
        std::fs::create_dir(folder.path().join("dist")).unwrap();
        std::fs::write(folder.path().join("dist/converse.min.js"), "").unwrap();
        assert_eq!(fault(&loaded.config, &loaded.origins), None);
        let none = load(&Inputs::default()).unwrap();
        assert_eq!(fault(&none.config, &none.origins), None);
    }
}
