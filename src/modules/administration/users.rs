//! XEP-0133 §4.1 to §4.7, §4.29: the verbs of [`crate::admin`] on accounts, as forms.

use super::super::api::{Answers, Cx, Note, StageOutcome};
use super::effects;
use super::forms::{self, Blank, bad};
use crate::admin::accounts::{self, AdminError, Kind};
use crate::admin::{Actor, Request, RoomError, Secret};
use crate::base::role::Role;
use crate::jid::Jid;
use crate::stanza::StanzaError;

/// What a stage of a command gives.
pub(super) type Done = Result<StageOutcome, StanzaError>;

const JID: Blank = Blank::required("jid-single", "accountjid", "The address of the account");
const JIDS: Blank = Blank::required("jid-multi", "accountjids", "The addresses of the accounts");

/// §4.1. A name and a mail address have no place here, so the form does not ask for them.
pub(super) async fn add(cx: Cx, stages: Vec<Answers>) -> Done {
    let Some(answers) = stages.first() else {
        let password = Blank::required("text-private", "password", "The password");
        let again = Blank::required("text-private", "password-verify", "The same again");
        let fields = [JID, password, again];
        return Ok(forms::ask_blank("Add a user", "This makes an account.", &fields));
    };
    let (jid, password) = with_password(&cx, answers)?;
    if answers.get("password-verify") != answers.get("password") {
        return Err(bad("the two passwords differ"));
    }
    act(cx, vec![Request::UserAdd { jid, password }]).await
}

/// §4.7
pub(super) async fn change_password(cx: Cx, stages: Vec<Answers>) -> Done {
    let Some(answers) = stages.first() else {
        let password = Blank::required("text-private", "password", "The new password");
        let told = "The devices of the account are logged out.";
        return Ok(forms::ask_blank("Change a user's password", told, &[JID, password]));
    };
    let (jid, password) = with_password(&cx, answers)?;
    act(cx, vec![Request::UserPasswd { jid, password }]).await
}

/// As in-band: passwords are taken over TLS only.
fn with_password(cx: &Cx, answers: &Answers) -> Result<(String, Secret), StanzaError> {
    let secure = cx.who.channel().is_some_and(|one| one.secure) || cx.config.unencrypted;
    if !secure {
        return Err(StanzaError::not_authorized().text("passwords are taken over TLS only"));
    }
    let jid = forms::one(answers, "accountjid")?.to_owned();
    Ok((jid, Secret(forms::one(answers, "password")?.to_owned())))
}

/// §4.2
pub(super) async fn delete(cx: Cx, stages: Vec<Answers>) -> Done {
    let grace = match effects::grace_days(&cx) {
        0 => "They CANNOT be restored.".to_owned(),
        days => format!("They can be restored for {days} days, with `stonechat user restore`."),
    };
    each(cx, stages, "Delete users", &grace, |jid| Request::UserDel { jid, now: false }).await
}

/// §4.3
pub(super) async fn disable(cx: Cx, stages: Vec<Answers>) -> Done {
    let told = "Nobody can log in to them, and nothing of theirs is lost.";
    each(cx, stages, "Disable users", told, |jid| Request::UserDisable { jid }).await
}

/// §4.4
pub(super) async fn reenable(cx: Cx, stages: Vec<Answers>) -> Done {
    let told = "Their owners can log in again.";
    each(cx, stages, "Re-enable users", told, |jid| Request::UserEnable { jid }).await
}

/// §4.5
pub(super) async fn end_session(cx: Cx, stages: Vec<Answers>) -> Done {
    let told = "A bare address ends all sessions of the account, one with a resource that session. Their \
                clients may log in again.";
    each(cx, stages, "End sessions", told, |jid| Request::UserLogout { jid }).await
}

/// One form with addresses, and a verb for each of them.
async fn each(
    cx: Cx,
    stages: Vec<Answers>,
    title: &str,
    told: &str,
    request: fn(String) -> Request,
) -> Done {
    let Some(answers) = stages.first() else {
        return Ok(forms::ask_blank(title, told, &[JIDS]));
    };
    let jids = forms::some(answers, "accountjids")?;
    act(cx, jids.into_iter().map(request).collect()).await
}

/// §4.29: who is an admin. Those that the configuration names stay.
pub(super) async fn edit_admins(cx: Cx, stages: Vec<Answers>) -> Done {
    let known = accounts::admins(&cx.store).await.map_err(refused)?;
    let of = |role| -> Vec<String> {
        let all = known.iter().filter(|(_, has)| *has == role);
        all.map(|(jid, _)| jid.to_string()).collect()
    };
    let Some(answers) = stages.first() else {
        let owners = Blank::optional("jid-multi", OWNERS, "Owners, who may do everything");
        let operators = Blank::optional("jid-multi", OPERATORS, "Operators, who administer users");
        let told = "Whoever stands here may administer this server. Those that its configuration names \
                    do so too, and are not shown.";
        let fields = [(owners, of(Role::Owner)), (operators, of(Role::Operator))];
        return Ok(forms::ask("Edit the admin list", told, &fields));
    };
    let mut wanted: Vec<(String, Role)> = Vec::new();
    // A list that is not sent stays as it is.
    for (var, role) in [(OWNERS, Role::Owner), (OPERATORS, Role::Operator)] {
        let sent = answers.0.iter().any(|(name, _)| name == var);
        for text in if sent { answers.get(var).to_vec() } else { of(role) } {
            let jid = accounts::parse(&text).map_err(refused)?.to_string();
            if !wanted.iter().any(|(known, _)| *known == jid) {
                wanted.push((jid, role));
            }
        }
    }
    let own = cx.bare();
    let keeps = wanted.iter().any(|(jid, role)| own == **jid && *role == Role::Owner)
        || cx.config.admins.role(own.as_str()) == Role::Owner;
    if !keeps {
        return Err(StanzaError::not_acceptable().text("you would not be an owner any more"));
    }
    let set = |jid: String, role| Request::UserRoleSet { jid, role };
    let gone = known.iter().filter(|(jid, _)| !wanted.iter().any(|(kept, _)| jid.as_str() == kept));
    let gone: Vec<_> = gone.map(|(jid, _)| set(jid.to_string(), Role::User)).collect();
    let new = wanted.into_iter().filter(|(jid, role)| {
        !known.iter().any(|(known, has)| known.as_str() == jid && has == role)
    });
    let new = new.map(|(jid, role)| set(jid, role));
    act(cx, new.chain(gone).collect()).await
}

/// Does these in order. All are looked at before the first is done, so that a slip in one of them changes
/// nothing.
pub(super) async fn act(cx: Cx, requests: Vec<Request>) -> Done {
    let lines = carried_out(cx, requests).await?;
    let lines = if lines.is_empty() { "Done.".to_owned() } else { lines.join("\n") };
    Ok(StageOutcome::done(Note::info(lines)))
}

/// The same; what it says.
pub(super) async fn carried_out(
    cx: Cx,
    requests: Vec<Request>,
) -> Result<Vec<String>, StanzaError> {
    let by = actor(&cx);
    let operator = cx.operator();
    // Runs to the end even if the client disconnects, or is the one that is logged out.
    let work = async move {
        for request in &requests {
            operator.check(&by, request).await.map_err(refused)?;
        }
        let mut lines = Vec::new();
        for request in requests {
            lines.extend(operator.act(&by, request).await.map_err(refused)?.lines());
        }
        Ok::<_, StanzaError>(lines)
    };
    cx.finish("administration", work).await
}

/// Who asks.
pub(super) fn actor(cx: &Cx) -> Actor {
    Actor::client(&cx.bare(), cx.role())
}

/// §5
pub(super) fn refused(error: AdminError) -> StanzaError {
    let text = error.to_string();
    match error {
        AdminError::Room(RoomError::Refused(error)) => return error,
        AdminError::Store(error) => return error.into(),
        AdminError::Unsent(..) => StanzaError::resource_constraint(),
        AdminError::TooManyInvitations(_) | AdminError::Closed => StanzaError::not_allowed(),
        AdminError::NotOnline(_) => StanzaError::item_not_found(),
        AdminError::Room(RoomError::Temporary(_)) | AdminError::Password(_) => {
            StanzaError::not_acceptable()
        }
        AdminError::Team(_) | AdminError::Peer(_) | AdminError::Certificate(_) => {
            StanzaError::not_acceptable()
        }
        error => match error.kind() {
            Kind::Invalid => bad(""),
            Kind::Unknown => StanzaError::item_not_found(),
            Kind::Conflict => StanzaError::conflict(),
            Kind::Forbidden => StanzaError::forbidden(),
            Kind::Unavailable | Kind::Failed => StanzaError::internal_server_error(),
        },
    }
    .text(text)
}

/// The account of an address with or without a resource.
pub(super) fn account_of(text: &str) -> Result<crate::jid::BareJid, StanzaError> {
    let jid = Jid::parse(text).map_err(|_| bad("this is no address"))?;
    accounts::parse(jid.bare_str()).map_err(refused)
}

/// §4.29
const OWNERS: &str = "adminjids";
/// Ours: the XEP leaves ranks of admins to the implementation.
const OPERATORS: &str = "operatorjids";
