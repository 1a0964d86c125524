//! Tables in Prosody's SQL storage: JSON, in which a table that is both list and map has its list under `__array`, and
//! what has keys that are no texts under `__hash`.

use serde_json::Value as Json;

use super::lua::{Table, Value, insert};

/// The most that a value may have, in bytes.
pub const BYTES_MAX: usize = 48 * 1024 * 1024;

/// Reads a value.
pub fn read(text: &str) -> Result<Value, String> {
    if text.len() > BYTES_MAX {
        return Err(format!("a value of more than {BYTES_MAX} bytes"));
    }
    let json: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
    value(json)
}

fn value(json: Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(it) => Value::Bool(it),
        Json::Number(number) => Value::Number(number.as_f64().ok_or("a number is too large")?),
        Json::String(text) => Value::Text(text.into_bytes()),
        Json::Array(list) => {
            let list = list.into_iter().map(value).collect::<Result<_, _>>()?;
            Value::Table(Table { list, ..Table::default() })
        }
        Json::Object(mut map) => {
            let mut table = Table::default();
            if let Some(Json::Array(list)) = map.remove("__array") {
                table.list = list.into_iter().map(value).collect::<Result<_, _>>()?;
            }
            if let Some(Json::Array(hash)) = map.remove("__hash") {
                let mut hash = hash.into_iter();
                while let (Some(key), Some(it)) = (hash.next(), hash.next()) {
                    insert(&mut table, value(key)?, value(it)?)?;
                }
            }
            for (key, it) in map {
                insert(&mut table, Value::Text(key.into_bytes()), value(it)?)?;
            }
            Value::Table(table)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::lua::Key;
    use super::*;

    #[test]
    fn a_table_has_a_list_and_keys_of_all_kinds() {
        let text = r#"{"name":"a","__array":["x",{}],"__hash":[false,{"version":1},7,true]}"#;
        let Ok(Value::Table(table)) = read(text) else { panic!("no table") };
        assert_eq!(table.text("name"), Some("a"));
        assert_eq!(table.list.len(), 2);
        assert!(matches!(table.map.get(&Key::Bool(false)), Some(Value::Table(_))));
        assert_eq!(table.map.get(&Key::Int(7)), Some(&Value::Bool(true)));
        assert!(read(&"[".repeat(100_000)).is_err());
        assert!(read("{").is_err());
    }
}
