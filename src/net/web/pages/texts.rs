//! The texts of the pages: a catalogue for each language, `key = text`, with places as `{host}` in the texts.

use super::language::Language;

/// Declares the texts, so that no page can ask for one that is not there.
macro_rules! texts {
    ($($key:ident),* $(,)?) => {
        /// The texts in one language.
        pub struct Texts { $(pub $key: &'static str,)* }

        impl Texts {
            fn of(catalogue: &'static str) -> Self {
                Self { $($key: find(catalogue, stringify!($key)),)* }
            }

            #[cfg(test)]
            const KEYS: &[&str] = &[$(stringify!($key)),*];
        }
    };
}

texts! {
    language, skip, languages, runs_on,
    front_title, front_lead,
    join_title, join_open, join_link, join_invitation, join_closed,
    login_title, login_text, chat_link, chat_script, chat_title,
    apps_here, apps_others, apps_text,
    connect_title, connect_domain, connect_starttls, connect_tls, connect_websocket, connect_bosh,
    contacts_title, contact_abuse, contact_admin, contact_feedback, contact_sales, contact_security, contact_status,
    contact_support,
    invite_title, invite_account, invite_account_by, invite_contact_by, invite_named, invite_until,
    step_app, step_open, open_button, open_hint, qr_title, qr_text, qr_label,
    signup_title, signup_here, signup_text, signup_button,
    field_name, field_name_hint, field_password, field_password_hint, field_again,
    done_title, done_text, done_app, done_next,
    reset_title, reset_text, reset_note, reset_button, reset_done_title, reset_done_text,
    ended_title, ended_unknown, ended_used, ended_expired, ended_revoked, ended_ask,
    tries_title, tries_text,
    error_title, error_name_missing, error_name_characters, error_name_taken, error_name_reserved, error_name_like,
    error_name_scripts, error_name_other, error_password_missing, error_password_short, error_password_long,
    error_password_characters, error_password_differs, error_accounts, error_names, error_busy, error_unsafe,
    error_foreign, error_form, error_failed,
}

/// The text of a key; a test proves that there is one.
fn find(catalogue: &'static str, key: &'static str) -> &'static str {
    let mut entries = catalogue.lines().filter_map(|line| line.split_once(" = "));
    entries.find(|(name, _)| *name == key).map_or(key, |(_, text)| text)
}

/// The text with these in its places. What is put in is escaped like all of it, where the page is made.
pub fn fill(text: &str, places: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (name, behind) = after.split_once('}').unwrap_or((after, ""));
        let value = places.iter().find(|(place, _)| *place == name).map_or("", |(_, value)| *value);
        filled.push_str(value);
        rest = behind;
    }
    filled.push_str(rest);
    filled
}

/// The texts in all languages.
pub struct Catalogues {
    en: Texts,
    de: Texts,
    es: Texts,
    fr: Texts,
    zh: Texts,
}

impl Catalogues {
    /// Reads what is built in.
    pub fn read() -> Self {
        Self {
            en: Texts::of(source(Language::En)),
            de: Texts::of(source(Language::De)),
            es: Texts::of(source(Language::Es)),
            fr: Texts::of(source(Language::Fr)),
            zh: Texts::of(source(Language::Zh)),
        }
    }

    /// Those of a language.
    pub fn of(&self, language: Language) -> &Texts {
        match language {
            Language::En => &self.en,
            Language::De => &self.de,
            Language::Es => &self.es,
            Language::Fr => &self.fr,
            Language::Zh => &self.zh,
        }
    }
}

fn source(language: Language) -> &'static str {
    match language {
        Language::En => include_str!("texts/en.txt"),
        Language::De => include_str!("texts/de.txt"),
        Language::Es => include_str!("texts/es.txt"),
        Language::Fr => include_str!("texts/fr.txt"),
        Language::Zh => include_str!("texts/zh.txt"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn places(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).map(|rest| rest.split_once('}').expect("an end").0).collect()
    }

    /// A text that is missing would be shown as its key.
    #[test]
    fn each_language_has_each_text_with_its_places() {
        let english = source(Language::En);
        for language in Language::ALL {
            let lines = source(language).lines().filter(|line| !line.is_empty());
            let entries: Vec<_> = lines
                .map(|line| line.split_once(" = ").unwrap_or_else(|| panic!("{line}")))
                .collect();
            let keys: Vec<_> = entries.iter().map(|(key, _)| *key).collect();
            assert_eq!(keys, Texts::KEYS, "{language:?}");
            for (key, text) in entries {
                assert!(!text.trim().is_empty() && text.trim() == text, "{language:?} {key}");
                let of = Texts::KEYS.iter().find(|one| **one == key).unwrap();
                assert_eq!(places(text), places(find(english, of)), "{language:?} {key}");
            }
        }
    }

    #[test]
    fn places_are_filled_once() {
        let filled = fill("a {x} b {y}{z}", &[("x", "{y}"), ("y", "2")]);
        assert_eq!(filled, "a {y} b 2");
        assert_eq!(fill("open {x", &[("x", "1")]), "open 1");
        assert_eq!(fill("none", &[]), "none");
    }
}
