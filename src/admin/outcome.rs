//! What the verbs give: data with types of its own. `lines.rs` makes lines for people of it; `told/` has the structs.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RoomPage;
use super::told::*;

/// Lists the variants once, each of which is named like the struct in it.
macro_rules! outcomes {
    ($($name:ident,)*) => {
        /// What a verb gave.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Outcome {
            $(
                #[doc = concat!("See [`", stringify!($name), "`].")]
                $name($name),
            )*
        }

        impl Outcome {
            /// The data alone, as it goes out over HTTP and by `--json`.
            pub fn json(&self) -> Value {
                match self {
                    $(Self::$name(it) => serde_json::to_value(it).unwrap_or_default(),)*
                }
            }

            /// What the data is, as the schemas name it.
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }
        }

        $(
            impl From<$name> for Outcome {
                fn from(it: $name) -> Self {
                    Self::$name(it)
                }
            }

            impl TryFrom<Outcome> for $name {
                type Error = Outcome;

                fn try_from(outcome: Outcome) -> Result<Self, Outcome> {
                    match outcome {
                        Outcome::$name(it) => Ok(it),
                        other => Err(other),
                    }
                }
            }
        )*
    };
}

outcomes! {
    Done,
    AccountMade,
    AccountShown,
    PasswordSet,
    AccountTurned,
    AccountDeleted,
    AccountRestored,
    AccountList,
    DeviceList,
    DevicesRevoked,
    SessionList,
    SessionsEnded,
    RoleShown,
    AdminList,
    Link,
    InvitationList,
    InvitationRevoked,
    Announced,
    NoticeShown,
    TeamList,
    TeamShown,
    TeamRooms,
    RoomPage,
    RoomShown,
    UploadOwners,
    UploadList,
    UploadsDeleted,
    ReportList,
    ReportShown,
    ServerList,
    ServerShown,
    ServerTest,
    ServerRules,
    CertList,
    CertRenewed,
    Status,
    BackupMade,
    ConfigShown,
    LogLines,
    AuditList,
    TokenMade,
    TokenList,
}

impl Outcome {
    /// What was done, in a line, where there are no data.
    pub fn done(told: impl Into<String>) -> Self {
        Self::Done(Done { told: vec![told.into()] })
    }
}

/// The schema of what a verb gives.
pub fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
