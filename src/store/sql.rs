//! `sql!`, for the tables of any floor.

/// Lists SQL constants once: as constants, and as the `CATALOGUE` that CI prepares on PostgreSQL.
macro_rules! sql {
    ($($name:ident = $sql:expr;)*) => {
        $(const $name: &str = $sql;)*
        /// Every statement of this file by name.
        pub(crate) const CATALOGUE: &[(&str, &str)] =
            &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}
pub(crate) use sql;
