//! The clients of the audit themselves, held against any server that speaks XEP-0198 and XEP-0313.

use super::archive;
use super::driver::{Arrival, Driver};
use super::judge::judge;
use super::ledger::{Book, Ledger};
use super::run::{login, register};
use crate::harness::client::{DEADLINE, Outcome, Target};
use crate::harness::process::Lab;
use crate::harness::server::subject;
use std::sync::Arc;
use tokio::time::timeout;

/// Two accounts somewhere.
async fn ground() -> Outcome<(Option<Lab>, Target, Arc<Vec<String>>)> {
    let Some(target) = subject() else {
        let lab = Lab::new(&["alice", "bob"], &[]);
        let target = lab.target.clone();
        let accounts = ["alice@localhost", "bob@localhost"].map(str::to_owned);
        return Ok((Some(lab), target, Arc::new(accounts.to_vec())));
    };
    let accounts = register(&target, ["alice", "bob"].map(str::to_owned).into_iter()).await?;
    Ok((None, target, Arc::new(accounts)))
}

struct Pair {
    alice: Driver,
    bob: Driver,
    book: Arc<Book>,
}

impl Pair {
    async fn send(&mut self, count: usize) -> Outcome<()> {
        for _ in 0..count {
            let key = self.book.write(|ledger| ledger.sends(0, 1));
            self.alice.message(key, 1, 10).await?;
        }
        self.alice.ask().await
    }

    /// Both take what comes until this holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Ledger) -> bool) -> Outcome<()> {
        let work = async {
            while !holds(&self.book.read()) {
                tokio::select! {
                    came = self.alice.next() => match came? {
                        Some(element) => self.alice.take(element).await?,
                        None => self.alice.cut(),
                    },
                    came = self.bob.next() => match came? {
                        Some(element) => self.bob.take(element).await?,
                        None => self.bob.cut(),
                    },
                }
            }
            Ok(())
        };
        timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("waiting: {what}"))
    }
}

#[tokio::test]
async fn a_stream_that_was_cut_goes_on_and_the_books_are_clean() -> Outcome<()> {
    let (_lab, target, accounts) = ground().await?;
    let book = Arc::new(Book::new(vec![0, 1]));
    let driver = |device| Driver::new(device, true, Arc::clone(&accounts), Arc::clone(&book));
    let (alice, bob) = (driver(0), driver(1));
    let mut pair = Pair { alice, bob, book };
    assert_eq!(pair.alice.connect(&target).await?, Arrival::Fresh);
    assert_eq!(pair.bob.connect(&target).await?, Arrival::Fresh);
    if !pair.alice.is_managed() {
        println!("skipped: the server offers no stream management");
        return Ok(());
    }
    pair.send(10).await?;
    pair.until("delivered", |ledger| ledger.unsettled == 0).await?;
    // The recipient is cut off, and messages come meanwhile.
    pair.bob.cut();
    pair.send(5).await?;
    pair.until("taken", |ledger| ledger.count(|sent| sent.acknowledged) == 15).await?;
    assert_eq!(pair.bob.connect(&target).await?, Arrival::Resumed);
    pair.until("retransmitted", |ledger| ledger.unsettled == 0).await?;
    // The sender is cut off with messages on the way.
    pair.send(5).await?;
    pair.alice.cut();
    assert_eq!(pair.alice.connect(&target).await?, Arrival::Resumed);
    pair.alice.ask().await?;
    pair.until("sent again", |ledger| ledger.unsettled == 0).await?;
    pair.bob.close().await?;
    pair.alice.close().await?;
    let archives = archives(&target, &accounts).await?;
    pair.book.write(|ledger| ledger.archives = archives);
    let verdict = judge(&pair.book.read());
    print!("{verdict}");
    assert_eq!((verdict.acknowledged, verdict.delivered, verdict.deliveries), (20, 20, 20));
    assert_eq!(verdict.wrong, Vec::<String>::new());
    Ok(())
}

/// Where the accounts have them.
async fn archives(
    target: &Target,
    accounts: &[String],
) -> Outcome<Option<Vec<Vec<super::ledger::Row>>>> {
    let mut archives = Vec::new();
    for account in accounts {
        let mut client = login(target, account).await?;
        if !archive::is_offered(&mut client).await? {
            println!("skipped: no archive on the bare address");
            return Ok(None);
        }
        archives.push(archive::read_all(&mut client).await?);
        client.close().await?;
    }
    Ok(Some(archives))
}
