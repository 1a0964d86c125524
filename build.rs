//! Lists `schema/NNNN_name.sql` in order, so that a new migration is a file and nothing else.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=schema");
    let mut found = Vec::new();
    for entry in fs::read_dir("schema")? {
        let file = entry?.file_name().into_string().map_err(|name| format!("schema/{name:?}"))?;
        // What the migrations make, for people.
        if file == "current.sql" {
            continue;
        }
        let parts = file.strip_suffix(".sql").and_then(|name| name.split_once('_'));
        let (version, name) = parts.ok_or_else(|| format!("schema/{file} is no NNNN_name.sql"))?;
        found.push((version.parse::<i64>()?, name.to_owned(), file));
    }
    found.sort();
    let mut code = "&[".to_owned();
    for (version, name, file) in found {
        write!(
            code,
            "Migration {{ version: {version}, name: {name:?}, \
             sql: include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/schema/{file}\")) }},"
        )?;
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("migrations.rs"), code + "]")?;
    Ok(())
}
