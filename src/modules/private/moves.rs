//! Private XML as XEP-0227 writes it (§4.6). Bookmarks in it go where bookmarks are.

use super::{ALL_OF, Config, NS, Stored, replace};
use crate::modules::ALL;
use crate::modules::api::{Giving, Holder, Moved, Moves, Tag, Taken, Taking};
use crate::store::tx::{StoreError, query_all};
use crate::xml::view::Node;

/// What accounts have.
pub(super) const MOVES: Moves = Moves {
    takes: &[Moved {
        what: "private XML",
        of: Holder::Account,
        within: &[(NS, "query")],
        ns: "*",
        name: "*",
        take,
    }],
    gives: &[(Holder::Account, give)],
    ..Moves::NONE
};

fn take(taking: &mut Taking<'_>, _: &[Tag], element: Node<'_>) -> Result<Taken, StoreError> {
    let which = format!("{{{}}}{}", element.ns(), element.name());
    let Ok(stored) = Stored::new(element) else {
        return Ok(Taken::not(which, "it has no namespace of its own, or a name that is too long"));
    };
    if stored.element.is_empty() {
        return Ok(Taken::There);
    }
    let account = taking.owner.account();
    let all = query_all(taking.tx, ALL_OF, &[account.into()], |row| {
        Ok((row.text(0)?, row.text(1)?, row.blob(2)?))
    })?;
    let same: Vec<_> = all
        .into_iter()
        .filter(|(ns, name, _)| *ns == stored.ns && *name == stored.name)
        .map(|(_, _, element)| element)
        .collect();
    // Several of one name came together; else what is there is newer.
    let key = format!("private {which}");
    let is_mine = taking.own.notes.contains_key(&key);
    if same.iter().any(|one| *one == stored.element.as_bytes()) || (!same.is_empty() && !is_mine) {
        return Ok(Taken::There);
    }
    let mut kept: Vec<Stored> = same
        .into_iter()
        .filter_map(|element| String::from_utf8(element).ok())
        .map(|element| Stored { ns: stored.ns.clone(), name: stored.name.clone(), element })
        .collect();
    kept.push(stored);
    let Config { elements_max, bytes_max } = taking.config.private;
    if !replace(taking.tx, account, &kept, &taking.config.private)? {
        let why = format!(
            "an account may have {elements_max} elements of {bytes_max} bytes together (modules.private)"
        );
        return Ok(Taken::not(which, why));
    }
    taking.own.notes.insert(key, 1);
    Ok(Taken::New)
}

fn give(giving: &mut Giving<'_>) -> Result<(), StoreError> {
    let account = giving.owner.account();
    let all = query_all(giving.tx, ALL_OF, &[account.into()], |row| {
        Ok((row.text(0)?, row.text(1)?, row.blob(2)?))
    })?;
    let elsewhere = |ns: &str, name: &str| {
        ALL.iter().flat_map(|module| module.private_xml).any(|one| one.ns == ns && one.name == name)
    };
    for (_, _, element) in all.iter().filter(|(ns, name, _)| !elsewhere(ns, name)) {
        (giving.out)(&[Tag::new(NS, "query")], element)?;
    }
    Ok(())
}
