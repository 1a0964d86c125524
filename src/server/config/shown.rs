//! The configuration as it may be shown: every key with its value, but no secret.

use toml::Value;

use super::Config;
use super::schema::table_of;
use crate::admin::told::Setting;

/// All keys, defaults too, in the order of their names.
pub fn shown(config: &Config) -> Vec<Setting> {
    let mut found = Vec::new();
    for (key, value) in table_of(config) {
        collect(&key, value, &mut found);
    }
    found
}

fn collect(key: &str, value: Value, found: &mut Vec<Setting>) {
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                collect(&format!("{key}.{name}"), value, found);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_table) => {
            for (index, value) in list.into_iter().enumerate() {
                collect(&format!("{key}.{index}"), value, found);
            }
        }
        value => {
            let value = match is_secret(key) && !is_empty(&value) {
                true => serde_json::Value::from("(secret)"),
                false => serde_json::to_value(&value).unwrap_or_default(),
            };
            found.push(Setting { key: key.to_owned(), value });
        }
    }
}

/// Whether what stands there lets somebody in, by the last part of its name. A host's `key` is the path of a file.
fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or_default();
    SECRET.iter().any(|word| last == *word || last.ends_with(&format!("_{word}")))
}

fn is_empty(value: &Value) -> bool {
    value.as_str().is_some_and(str::is_empty)
}

const SECRET: [&str; 4] = ["secret", "password", "credential", "token"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Secret;
    use crate::server::config::Component;

    #[test]
    fn secrets_are_not_shown() {
        let mut config = Config::default();
        let told = |config: &Config| serde_json::to_string(&shown(config)).unwrap();
        assert!(told(&config).contains("web.idle_secs") && !told(&config).contains("(secret)"));
        let component = "domain = \"irc.x\"\nsecret = \"hunter2\"\nsecret_file = \"/a/path\"";
        config.component.push(toml::from_str::<Component>(component).unwrap());
        config.modules.upload.bucket.secret = Secret("hunter3".to_owned());
        let all = told(&config);
        assert!(all.contains("component.0.secret") && all.contains("(secret)"), "{all}");
        assert!(!all.contains("hunter") && all.contains("/a/path"), "{all}");
        assert!(
            all.contains(r#"{"key":"modules.register.password_length_min","value":8}"#),
            "{all}"
        );
    }
}
