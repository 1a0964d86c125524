//! Whom the configuration makes an admin, whatever the database says.

use crate::base::role::Role;

/// `admin.owners` and `admin.operators`: bare JIDs in normal form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admins {
    /// Each one has [`Role::Owner`].
    pub owners: Vec<String>,
    /// Each one has [`Role::Operator`].
    pub operators: Vec<String>,
}

impl Admins {
    /// The role that an address has by configuration.
    pub fn role(&self, bare: &str) -> Role {
        let has = |list: &[String]| list.iter().any(|one| one == bare);
        match (has(&self.owners), has(&self.operators)) {
            (true, _) => Role::Owner,
            (false, true) => Role::Operator,
            (false, false) => Role::User,
        }
    }

    /// All that are named, with their roles.
    pub fn all(&self) -> impl Iterator<Item = (&str, Role)> {
        let owners = self.owners.iter().map(|jid| (jid.as_str(), Role::Owner));
        owners.chain(self.operators.iter().map(|jid| (jid.as_str(), Role::Operator)))
    }
}
