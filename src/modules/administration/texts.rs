//! XEP-0133 §4.23 to §4.28, as forms: announcements, the message of the day, the welcome message.

use super::super::api::{Answers, Cx};
use super::forms::{self, Blank};
use super::users::{Done, act, refused};
use crate::admin::{Audience, Notice, NoticeChange, Request};

/// §4.23
pub(super) async fn announce_online(cx: Cx, stages: Vec<Answers>) -> Done {
    let told = "This goes to everybody who is online.";
    announce(cx, stages, told, Audience::Online).await
}

/// The same to all accounts: the XEP has no node for it.
pub(super) async fn announce_all(cx: Cx, stages: Vec<Answers>) -> Done {
    let told = "This goes to every account; whoever is away gets it later.";
    announce(cx, stages, told, Audience::All).await
}

async fn announce(cx: Cx, stages: Vec<Answers>, told: &str, to: Audience) -> Done {
    let Some(answers) = stages.first() else {
        let text = Blank::required("text-multi", "announcement", "Announcement");
        return Ok(forms::ask_blank("Make an announcement", told, &[text]));
    };
    let text = forms::text(answers, "announcement")?;
    act(cx, vec![Request::Announce { text, to }]).await
}

/// §4.24
pub(super) async fn set_motd(cx: Cx, stages: Vec<Answers>) -> Done {
    let told = "Everybody gets this once: who is online now, others when they come.";
    change(cx, stages, Notice::Motd, "Set the message of the day", told, NoticeChange::Set).await
}

/// §4.25
pub(super) async fn edit_motd(cx: Cx, stages: Vec<Answers>) -> Done {
    let told = "Whoever got the message already does not get it again.";
    change(cx, stages, Notice::Motd, "Edit the message of the day", told, NoticeChange::Edit).await
}

/// §4.26
pub(super) async fn delete_motd(cx: Cx) -> Done {
    let request = Request::NoticeDelete { which: Notice::Motd };
    act(cx, vec![request]).await
}

/// §4.27
pub(super) async fn set_welcome(cx: Cx, stages: Vec<Answers>) -> Done {
    let told = "New users get this when they first come online.";
    change(cx, stages, Notice::Welcome, "Set the welcome message", told, NoticeChange::Set).await
}

/// §4.28
pub(super) async fn delete_welcome(cx: Cx) -> Done {
    let request = Request::NoticeDelete { which: Notice::Welcome };
    act(cx, vec![request]).await
}

/// One form with the text as it is.
async fn change(
    cx: Cx,
    stages: Vec<Answers>,
    which: Notice,
    title: &str,
    told: &str,
    make: fn(String) -> NoticeChange,
) -> Done {
    let (var, label) = match which {
        Notice::Motd => ("motd", "Message of the day"),
        Notice::Welcome => ("welcome", "Welcome message"),
    };
    let Some(answers) = stages.first() else {
        let now = cx.operator().notice(which, NoticeChange::Show).await.map_err(refused)?;
        let lines = now.unwrap_or_default().lines().map(str::to_owned).collect();
        let field = Blank::required("text-multi", var, label);
        return Ok(forms::ask(title, told, &[(field, lines)]));
    };
    let change = make(forms::text(answers, var)?);
    act(cx, vec![Request::notice(which, change)]).await
}
