//! What a team's rooms mean to its members: membership of the room and a bookmark come with the team and go with it.

use tokio::sync::Semaphore;

use super::super::api::{Cause, Cx, PeriodicJob, Requester};
use super::super::bookmarks::given as bookmarks;
use super::super::muc;
use super::super::pep::Owner;
use super::rooms::{self, Page, State, Tie};
use crate::jid::Jid;
use crate::stanza::StanzaError;
use crate::store::StoreError;
use crate::store::tx::Tx;

/// Does all that is to be done; how much of it could not be. That is tried again later.
pub async fn settle(cx: &Cx) -> Result<usize, StoreError> {
    settle_by(cx, AT_ONCE).await
}

/// The same, so many at once.
async fn settle_by(cx: &Cx, at_once: i64) -> Result<usize, StoreError> {
    let _turn = TURN.acquire().await;
    let (mut failed, mut why) = (0_usize, None);
    for kind in [Todo::Part, Todo::End, Todo::Bring] {
        let mut page = Page::first(at_once);
        loop {
            let ties = cx.store.read(move |tx| kind.ties(tx, page)).await?;
            let Some(last) = ties.last() else { break };
            page = page.behind(last);
            for tie in ties {
                if let Err(error) = kind.carry_out(cx, &tie).await {
                    why.get_or_insert((tie, error));
                    failed += 1;
                }
            }
        }
    }
    if let Some((tie, error)) = why {
        let (account, room) = (tie.address.as_str(), tie.jid.as_str());
        tracing::warn!(account, room, failed, %error, "what a team's room means was not done; tried again later");
    }
    Ok(failed)
}

/// Now and then: what could not be done before, rooms that were destroyed, and accounts that were deleted.
pub(super) async fn periodic(job: PeriodicJob) {
    if job.cause == Cause::Grown {
        return;
    }
    let host = job.router.hosts().first().and_then(|host| Jid::parse(host).ok());
    let Some(host) = host else { return };
    let cx = Cx {
        who: Requester::Entity(host),
        now: job.now,
        config: job.config,
        store: job.store,
        router: job.router,
        server: job.server,
    };
    match settle(&cx).await {
        Ok(_) | Err(StoreError::Closed) => {}
        Err(error) => tracing::warn!(%error, "rooms of teams could not be looked at"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Todo {
    Part,
    End,
    Bring,
}

impl Todo {
    fn ties(self, tx: &mut dyn Tx, page: Page) -> Result<Vec<Tie>, StoreError> {
        match self {
            Self::Part => rooms::to_part(tx, page),
            Self::End => rooms::to_end(tx, page),
            Self::Bring => rooms::to_bring(tx, page),
        }
    }

    async fn carry_out(self, cx: &Cx, tie: &Tie) -> Result<(), StanzaError> {
        match self {
            Self::Part => part(cx, tie).await,
            Self::End => end(cx, tie).await,
            Self::Bring => {
                if tie.membership == State::NotYet {
                    join(cx, tie).await?;
                }
                bookmark(cx, tie).await
            }
        }
    }
}

/// Somebody becomes a member, and that it was a team's doing is written with it.
async fn join(cx: &Cx, tie: &Tie) -> Result<(), StanzaError> {
    let written = tie.clone();
    let also = move |tx: &mut dyn Tx, changed: bool| {
        let state = if changed { State::Brought } else { State::Own };
        rooms::set_membership(tx, &written, state)
    };
    muc::join(cx, (tie.room, &tie.jid), tie.address.clone(), Box::new(also)).await
}

/// Somebody is no member any more; what was there before, or has become more since, stays.
async fn part(cx: &Cx, tie: &Tie) -> Result<(), StanzaError> {
    let written = tie.clone();
    let also = move |tx: &mut dyn Tx, _: bool| rooms::set_membership(tx, &written, State::NotYet);
    match tie.membership {
        State::Brought => {
            muc::part(cx, (tie.room, &tie.jid), tie.address.clone(), Box::new(also)).await
        }
        _ => Ok(cx.store.write(move |tx| also(tx, false)).await?),
    }
}

/// The bookmark is made in two steps, as nobody knows after a crash between them whose it is: first it is written that
/// it comes from here.
async fn bookmark(cx: &Cx, tie: &Tie) -> Result<(), StanzaError> {
    let owner = owner(cx, tie).await?.ok_or_else(StanzaError::item_not_found)?;
    let known = muc::known(cx, &tie.jid).await?.filter(|known| known.id == tie.room);
    let known = known.ok_or_else(StanzaError::item_not_found)?;
    if tie.bookmark == State::NotYet {
        let (written, service) = (tie.clone(), owner.service(&cx.config));
        let first = cx.store.write(move |tx| {
            let has = bookmarks::has(tx, &service, &written.jid)?;
            let state = if has { State::Own } else { State::Coming };
            rooms::set_bookmark(tx, &written, state)?;
            Ok(state)
        });
        if first.await? == State::Own {
            return Ok(());
        }
    }
    let about = (known.name.as_str(), known.password.as_deref());
    bookmarks::put(cx, owner, &tie.jid, about).await?;
    let written = tie.clone();
    Ok(cx.store.write(move |tx| rooms::set_bookmark(tx, &written, State::Brought)).await?)
}

/// Nothing ties them any more.
async fn end(cx: &Cx, tie: &Tie) -> Result<(), StanzaError> {
    if tie.membership != State::NotYet {
        part(cx, tie).await?;
    }
    if matches!(tie.bookmark, State::Brought | State::Coming)
        && let Some(owner) = owner(cx, tie).await?
    {
        bookmarks::take(cx, owner, &tie.jid).await?;
    }
    let written = tie.clone();
    Ok(cx.store.write(move |tx| rooms::end(tx, &written)).await?)
}

/// Whose bookmark it is; nobody's, once the account is erased.
async fn owner(cx: &Cx, tie: &Tie) -> Result<Option<Owner>, StanzaError> {
    let account = tie.account;
    let is_there = cx.store.read(move |tx| rooms::is_there(tx, account)).await?;
    Ok(is_there.then(|| Owner { account, jid: tie.address.clone() }))
}

/// Ties that are looked at in one go.
const AT_ONCE: i64 = 500;
/// Two at once would do the same.
static TURN: Semaphore = Semaphore::const_new(1);

#[cfg(test)]
mod tests {
    use super::super::verbs::run;
    use super::*;
    use crate::admin::{RoomVerb, TeamVerb};
    use crate::jid::BareJid;
    use crate::modules::Config;
    use crate::modules::testing::Server;
    use crate::store::ids::RoomId;

    const ANN: &str = "ann@montague.example";
    const ROOM: &str = "help@conference.montague.example";

    async fn team(cx: &Cx, verb: TeamVerb) {
        run(cx, verb).await.unwrap();
    }

    fn join() -> TeamVerb {
        TeamVerb::Join { name: "t".to_owned(), jid: ANN.to_owned(), called: None }
    }

    /// Whether the account has a bookmark of the room.
    async fn marked(server: &Server, owner: &Owner) -> bool {
        let service = owner.service(&server.cx.config);
        let room = BareJid::parse(ROOM).unwrap();
        server.store().read(move |tx| bookmarks::has(tx, &service, &room)).await.unwrap()
    }

    async fn server() -> (Server, Owner, RoomId) {
        let server = Server::new(Config::default());
        server.account("root", &[]).await;
        let account = server.account("ann", &[]).await;
        let owner = "root@montague.example".to_owned();
        let create = RoomVerb::Create { room: ROOM.to_owned(), owner, preset: None, name: None };
        muc::run(&server.cx, create).await.unwrap();
        let name = || "t".to_owned();
        team(&server.cx, TeamVerb::Add { name: name() }).await;
        team(&server.cx, TeamVerb::AddRoom { name: name(), room: ROOM.to_owned() }).await;
        let room = muc::known(&server.cx, &BareJid::parse(ROOM).unwrap()).await.unwrap().unwrap();
        (server, Owner { account, jid: BareJid::parse(ANN).unwrap() }, room.id)
    }

    fn tie(owner: &Owner, room: RoomId) -> Tie {
        Tie {
            account: owner.account,
            address: owner.jid.clone(),
            room,
            jid: BareJid::parse(ROOM).unwrap(),
            membership: State::NotYet,
            bookmark: State::NotYet,
        }
    }

    /// A bookmark that was on its way when the server stopped is the team's, whether it was made by then or not.
    #[tokio::test]
    async fn what_was_under_way_is_brought_to_its_end() {
        for made in [false, true] {
            let (server, owner, room) = server().await;
            let coming = tie(&owner, room);
            let write = move |tx: &mut dyn Tx| rooms::set_bookmark(tx, &coming, State::Coming);
            server.store().write(write).await.unwrap();
            let jid = BareJid::parse(ROOM).unwrap();
            if made {
                bookmarks::put(&server.cx, owner.clone(), &jid, ("", None)).await.unwrap();
            }
            team(&server.cx, join()).await;
            assert!(marked(&server, &owner).await, "{made}");
            assert_eq!(settle(&server.cx).await.unwrap(), 0);
            let leave = TeamVerb::Leave { name: "t".to_owned(), jid: ANN.to_owned() };
            team(&server.cx, leave).await;
            assert!(!marked(&server, &owner).await, "{made}");
            let all = |tx: &mut dyn Tx| rooms::to_end(tx, Page::first(9));
            let left = server.store().read(all).await.unwrap();
            assert!(left.is_empty(), "{left:?}");
        }
    }

    /// What a room refuses is no reason for the team to do nothing else, and is tried again.
    #[tokio::test]
    async fn what_cannot_be_done_waits() {
        let mut config = Config::default();
        config.pep.item_bytes_max = 10;
        let server = Server::new(config);
        server.account("root", &[]).await;
        server.account("ann", &[]).await;
        let owner = "root@montague.example".to_owned();
        let create = RoomVerb::Create { room: ROOM.to_owned(), owner, preset: None, name: None };
        muc::run(&server.cx, create).await.unwrap();
        let name = || "t".to_owned();
        team(&server.cx, TeamVerb::Add { name: name() }).await;
        team(&server.cx, join()).await;
        let added = TeamVerb::AddRoom { name: name(), room: ROOM.to_owned() };
        let said = run(&server.cx, added).await.unwrap().lines();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said.iter().any(|line| line.starts_with("1 of its rooms' members follow later")));
        assert_eq!(settle(&server.cx).await.unwrap(), 1);
        let shown = RoomVerb::Show { room: ROOM.to_owned() };
        let shown = muc::run(&server.cx, shown).await.unwrap().lines();
        assert!(shown.contains(&format!("member: {ANN}")), "{shown:?}");
    }

    /// What fails for good holds up none of those behind it, however many it is.
    #[tokio::test]
    async fn what_cannot_be_done_holds_up_nobody() {
        let (server, ..) = server().await;
        let mut all = vec!["ann".to_owned()];
        for n in 0..4 {
            all.push(format!("u{n}"));
        }
        for name in &all[1..] {
            server.account(name.clone().leak(), &[]).await;
        }
        let mut config = Config::default();
        config.pep.item_bytes_max = 10;
        let stuck = Cx { config: config.into(), ..server.cx.clone() };
        for name in &all {
            let jid = format!("{name}@montague.example");
            let name = "t".to_owned();
            run(&stuck, TeamVerb::Join { name, jid, called: None }).await.unwrap();
        }
        // Nobody gets a bookmark, and each of them is a member of the next room.
        let other = "next@conference.montague.example";
        let owner = "root@montague.example".to_owned();
        let room = || other.to_owned();
        let create = RoomVerb::Create { room: room(), owner, preset: None, name: None };
        muc::run(&server.cx, create).await.unwrap();
        let id = muc::known(&server.cx, &BareJid::parse(other).unwrap()).await.unwrap().unwrap().id;
        let add = move |tx: &mut dyn Tx| {
            let team = super::super::table::find(tx, "t")?.unwrap();
            rooms::add(tx, &team, id, &BareJid::parse(other).unwrap())
        };
        server.store().write(add).await.unwrap();
        assert_eq!(settle_by(&stuck, 2).await.unwrap(), 10);
        let shown = muc::run(&server.cx, RoomVerb::Show { room: room() }).await.unwrap().lines();
        for name in &all {
            let line = format!("member: {name}@montague.example");
            assert!(shown.contains(&line), "{line} {shown:?}");
        }
    }
}
