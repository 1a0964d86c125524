//! What owners decide of a room (XEP-0045 §10.1, §10.2).

use serde::{Deserialize, Serialize};

use super::looks::Looks;
use super::rights::Role;

/// A room's configuration. Stored as JSON: what a later release adds has its default in older rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Its name for people.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// The language that is spoken in it.
    pub language: String,
    /// It is listed in service discovery (§6.3).
    pub public: bool,
    /// It stays when the last occupant leaves.
    pub persistent: bool,
    /// Only members may enter.
    pub members_only: bool,
    /// Only who has voice may speak.
    pub moderated: bool,
    /// Who enters has to know it.
    pub password: Option<String>,
    /// Who sees real addresses.
    pub whois: Whois,
    /// Occupants who are no admins may invite.
    pub invites: bool,
    /// Participants may change the subject; else moderators only.
    pub change_subject: bool,
    /// Who may write to one occupant.
    pub private_messages: Pm,
    /// Who may read the member list: the least role.
    pub member_list: Least,
    /// Presence is shown of these roles.
    pub broadcast: Broadcast,
    /// Occupants at most; 0: as many as the service allows.
    pub occupants_max: u32,
    /// What is said is kept (XEP-0313).
    pub archive: bool,
    /// Messages that somebody who enters gets at most, unless it asks for fewer.
    pub history: u32,
    /// Visitors may ask for voice (§7.13).
    pub voice_requests: bool,
    /// Whom to ask about the room.
    pub contacts: Vec<String>,
    /// Seconds between two messages of one participant (XEP-0500); 0: no bound.
    pub slow_mode: u32,
    /// The avatar and hats.
    pub looks: Looks,
}

/// Who sees the real addresses of occupants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whois {
    /// Everybody: a non-anonymous room.
    Anyone,
    /// Moderators: a semi-anonymous room.
    Moderators,
}

/// Who may write to one occupant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pm {
    /// Every occupant.
    Anyone,
    /// Who has voice.
    Participants,
    /// Moderators.
    Moderators,
    /// Nobody.
    None,
}

/// The least role for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Least {
    /// Every occupant.
    Visitor,
    /// Who has voice.
    Participant,
    /// Moderators.
    Moderator,
}

/// Whose presence is shown to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Broadcast {
    /// Moderators'.
    pub moderator: bool,
    /// Participants'.
    pub participant: bool,
    /// Visitors'.
    pub visitor: bool,
}

impl Default for Broadcast {
    fn default() -> Self {
        Self { moderator: true, participant: true, visitor: true }
    }
}

impl Broadcast {
    /// Whether presence of this role is shown.
    pub const fn shows(self, role: Role) -> bool {
        match role {
            Role::Moderator => self.moderator,
            Role::Participant => self.participant,
            Role::Visitor => self.visitor,
            Role::None => true,
        }
    }
}

/// A configuration with a name, offered to owners and in the config file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Anybody may enter and find it, until the last one leaves; nothing is kept.
    Temporary,
    /// Anybody may enter and find it; it stays, and what is said is kept.
    Public,
    /// Members only, who see who the others are; it stays, and what is said is kept: fit for OMEMO (XEP-0384 §5.8).
    #[default]
    Private,
}

impl Preset {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Temporary, Self::Public, Self::Private];

    /// As in the form and the config file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Temporary => "temporary",
            Self::Public => "public",
            Self::Private => "private",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Temporary => "Temporary: open to all, gone when the last one leaves",
            Self::Public => "Public: open to all, stays, and keeps what is said",
            Self::Private => "Private group: members only, who see each other; fit for OMEMO",
        }
    }

    /// What it means.
    pub fn settings(self) -> Settings {
        let open = Settings::default();
        match self {
            Self::Temporary => Settings { persistent: false, archive: false, ..open },
            Self::Public => open,
            Self::Private => Settings {
                public: false,
                members_only: true,
                whois: Whois::Anyone,
                member_list: Least::Visitor,
                ..open
            },
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            language: String::new(),
            public: true,
            persistent: true,
            members_only: false,
            moderated: false,
            password: None,
            whois: Whois::Moderators,
            invites: true,
            change_subject: false,
            private_messages: Pm::Anyone,
            member_list: Least::Moderator,
            broadcast: Broadcast::default(),
            occupants_max: 0,
            archive: true,
            history: 20,
            voice_requests: true,
            contacts: Vec::new(),
            slow_mode: 0,
            looks: Looks::default(),
        }
    }
}

impl Settings {
    /// As it is stored.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The reverse; `None` if it is damaged.
    pub fn of_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether the role may write to one occupant.
    pub fn may_whisper(&self, role: Role) -> bool {
        role >= match self.private_messages {
            Pm::Anyone => Role::Visitor,
            Pm::Participants => Role::Participant,
            Pm::Moderators => Role::Moderator,
            Pm::None => return false,
        }
    }

    /// Whether the role may change the subject (§8.1).
    pub fn may_change_subject(&self, role: Role) -> bool {
        role >= if self.change_subject { Role::Participant } else { Role::Moderator }
    }

    /// Whether a role sees real addresses.
    pub fn shows_addresses(&self, role: Role) -> bool {
        self.whois == Whois::Anyone || role == Role::Moderator
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back_by_later_releases() {
        for preset in Preset::ALL {
            let settings = preset.settings();
            assert_eq!(Settings::of_json(&settings.to_json()), Some(settings));
            assert_eq!(Preset::parse(preset.as_str()), Some(preset));
        }
        assert_eq!(Settings::of_json("{}"), Some(Settings::default()));
        assert_eq!(Settings::of_json("{\"later\":1}"), Some(Settings::default()));
        assert_eq!(Settings::of_json("{"), None);
    }
}
