//! What an account does with strangers' messages, and whom it has let in.

use super::super::AccountState;
use super::super::api::{AccountPart, Answers, Cx, Note, StageOutcome};
use crate::router::registry::AccountEntry;
use crate::stanza::StanzaError;
use crate::stanza::form::{self, Written};
use crate::store::damage::query_sound;
use crate::store::ids::AccountId;
use crate::store::tx::{Row, StoreError, Tx, query_optional};
use crate::xml::ns;
use crate::xml::writer::Xml;

/// What is done with a stranger's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// As with everybody's.
    #[default]
    Deliver,
    /// It waits until the account lets its sender in.
    Hold,
    /// The sender gets the error of an account that is not there.
    Refuse,
}

impl Policy {
    const ALL: [Self; 3] = [Self::Deliver, Self::Hold, Self::Refuse];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Hold => "hold",
            Self::Refuse => "refuse",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Deliver => "Deliver them like all others",
            Self::Hold => "Hold them until I let their sender in",
            Self::Refuse => "Refuse them",
        }
    }

    const fn number(self) -> i64 {
        self as i64
    }
}

/// An account's part.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Own {
    /// None: as its host.
    pub(super) policy: Option<Policy>,
    /// Its host does not deliver: what its sessions send is looked at. Not stored.
    pub(super) asks: bool,
    /// Bare JIDs, sorted.
    let_in: Vec<Box<str>>,
}

impl Own {
    pub(super) fn has_let_in(&self, jid: &str) -> bool {
        self.let_in.binary_search_by(|one| (**one).cmp(jid)).is_ok()
    }

    /// False if it was in already, or there is no room.
    pub(super) fn let_in(&mut self, jid: &str) -> bool {
        match self.let_in.binary_search_by(|one| (**one).cmp(jid)) {
            Err(at) if self.let_in.len() < LET_IN_MAX => {
                self.let_in.insert(at, jid.into());
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Whether somebody is in, or may be let in.
    pub(super) fn takes(&self, jid: &str) -> bool {
        self.let_in.len() < LET_IN_MAX || self.has_let_in(jid)
    }

    pub(super) fn of(account: &AccountEntry) -> Option<&Self> {
        AccountState::of(account)?.strangers.as_deref()
    }

    pub(super) fn change(account: &mut AccountEntry, change: impl FnOnce(&mut Self)) {
        AccountState::change(account, |state| {
            let own = state.strangers.get_or_insert_default();
            change(own);
            if **own == Self::default() {
                state.strangers = None;
            }
        });
    }
}

impl AccountPart for Option<Box<Own>> {
    fn load(tx: &mut dyn Tx, account: AccountId) -> Result<Self, StoreError> {
        let policy = query_optional(tx, POLICY, &[account.into()], |row| row.int(0))?;
        let policy =
            policy.and_then(|number| Policy::ALL.into_iter().find(|p| p.number() == number));
        let read = |row: &dyn Row| Ok(row.text(0)?.into_boxed_str());
        let mut let_in =
            query_sound(tx, ("stranger_let_in", account), LET_IN, &[account.into()], read)?;
        // Sorted here, because the database may use another collation.
        let_in.sort_unstable();
        let own = Own { policy, let_in, asks: false };
        Ok((own != Own::default()).then(|| Box::new(own)))
    }

    fn bytes(&self) -> usize {
        let texts = |own: &Own| {
            own.let_in.iter().map(|jid| size_of::<Box<str>>() + jid.len()).sum::<usize>()
        };
        self.as_ref().map_or(0, |own| size_of::<Own>() + texts(own))
    }

    fn is_nothing(&self) -> bool {
        self.is_none()
    }
}

/// Lets somebody in, in the store.
pub(super) fn put_let_in(tx: &mut dyn Tx, account: AccountId, jid: &str) -> Result<(), StoreError> {
    tx.execute(PUT_LET_IN, &[account.into(), jid.into()]).map(drop)
}

/// The command: one form, one answer.
pub(super) async fn choose(cx: Cx, stages: Vec<Answers>) -> Result<StageOutcome, StanzaError> {
    let Some(answers) = stages.first() else { return Ok(form(&cx)) };
    let account = cx.account()?;
    let named = |value: &String| Policy::ALL.into_iter().find(|policy| policy.as_str() == value);
    let policy = match answers.get(FIELD) {
        [value] if value == AS_HOST => Some(None),
        [value] => named(value).map(Some),
        _ => None,
    };
    let policy = policy.ok_or_else(|| {
        let unknown = StanzaError::bad_request().text("choose one of the form");
        unknown.application(ns::COMMANDS, "bad-payload")
    })?;
    let work = cx.clone();
    cx.finish("strangers", async move {
        let write = move |tx: &mut dyn Tx| match policy {
            Some(policy) => {
                tx.execute(PUT_POLICY, &[account.into(), policy.number().into()]).map(drop)
            }
            None => tx.execute(NO_POLICY, &[account.into()]).map(drop),
        };
        let apply = move |entry: &mut AccountEntry| Own::change(entry, |own| own.policy = policy);
        work.router.change(work.bare(), write, apply).await?;
        Ok(StageOutcome::done(Note::info("It is so from now on.")))
    })
    .await
}

fn form(cx: &Cx) -> StageOutcome {
    let host = cx.config.strangers.of_host(cx.jid().domain());
    let own = cx.own(|entry| Own::of(entry).and_then(|own| own.policy)).flatten();
    let now = own.map_or(AS_HOST, Policy::as_str);
    let mut xml = Xml::new();
    form::titled(&mut xml, Written::Form, "Messages of strangers");
    xml.element(
        "instructions",
        None,
        "Strangers are people who are not among your contacts and to whom you have not written. What is \
         held waits under \"Strangers who wait\"; its sender does not learn of it.",
    );
    let mut options = vec![(format!("As this server does: {}", host.as_str()), AS_HOST.to_owned())];
    options.extend(Policy::ALL.map(|one| (one.label().to_owned(), one.as_str().to_owned())));
    // What holds now goes first.
    options.sort_by_key(|(_, value)| value != now);
    form::choice(&mut xml, "list-single", FIELD, "Their messages", &options);
    xml.end();
    StageOutcome::Ask { form: xml.finish().into(), last: true }
}

const FIELD: &str = "messages";
const AS_HOST: &str = "server";
/// Strangers that an account has let in or written to. When there are more, further ones are let in as contacts.
pub(super) const LET_IN_MAX: usize = 1_000;

crate::store::sql! {
    POLICY = "SELECT policy FROM stranger_policy WHERE account = $1";
    PUT_POLICY = "INSERT INTO stranger_policy (account, policy) VALUES ($1, $2)
        ON CONFLICT (account) DO UPDATE SET policy = excluded.policy";
    NO_POLICY = "DELETE FROM stranger_policy WHERE account = $1";
    LET_IN = "SELECT jid FROM stranger_let_in WHERE account = $1";
    PUT_LET_IN = "INSERT INTO stranger_let_in (account, jid) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    WEIGH = "SELECT COALESCE(SUM(OCTET_LENGTH(jid)), 0), COUNT(*)
        FROM stranger_let_in WHERE account = $1";
}

/// For the quota.
pub(super) const WEIGHT: &str = WEIGH;
