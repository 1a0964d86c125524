//! Every statement of the server. The SQL of a table is in the module that owns the table.

use super::ALL;
use crate::store;

/// All statements by name, for CI to prepare on PostgreSQL, except those of the search, which is
/// specific to SQLite.
pub fn catalogue() -> Vec<(&'static str, &'static str)> {
    let modules = ALL.iter().flat_map(|module| module.sql).copied().flatten().copied();
    store::sql_catalogue().into_iter().chain(modules).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::migrate::{Dialect, MIGRATIONS};
    use crate::store::testing;

    /// Like `store::tests::nothing_ever_scans`, without its exceptions.
    #[test]
    fn no_module_ever_scans() {
        testing::tx(|tx| {
            for (name, sql) in ALL.iter().flat_map(|module| module.sql).copied().flatten() {
                for step in testing::plan(tx, sql) {
                    assert!(!step.contains("SCAN "), "{name}: {step}");
                }
            }
        });
    }

    /// For `tests/interop/postgres_sql.sh`: migrations and statements as PostgreSQL gets them.
    #[test]
    #[ignore = "prints, checks nothing"]
    fn print_sql() {
        println!("-- stonechat sql begins");
        for migration in MIGRATIONS {
            println!("{}", migration.render(Dialect::Postgres));
        }
        for (name, sql) in catalogue() {
            println!("PREPARE \"{name}\" AS {sql};");
        }
        println!("-- stonechat sql ends");
    }
}
