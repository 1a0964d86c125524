//! The forms with which an account is made, or a password set.

use maud::{Markup, html};

use super::asked::Asked;
use super::refusal::{Field, Refusal};
use super::texts::fill;

/// A form to be shown.
pub struct Form<'a> {
    /// What its button says.
    pub button: &'a str,
    /// Whose password it is, or whose account it will be; else a name is asked for, on this domain.
    pub whose: Whose<'a>,
    /// What was wrong with what was sent, if something was.
    pub refusal: Option<&'a Refusal>,
}

/// Whose account it is.
#[derive(Clone, Copy)]
pub enum Whose<'a> {
    /// That of this address.
    Of(&'a str),
    /// That of whoever chooses a name on this domain; what was chosen before.
    New {
        /// The domain.
        host: &'a str,
        /// What was sent.
        name: &'a str,
    },
}

/// Makes it. It is sent to where it is.
pub fn form(asked: &Asked, form: &Form<'_>) -> Markup {
    let t = asked.texts();
    let least = asked.pages.web.context.config.register.password_length_min;
    let hint = fill(t.field_password_hint, &[("count", &least.to_string())]);
    let wrong = |field| form.refusal.filter(|refusal| refusal.field == Some(field));
    let has_name = matches!(form.whose, Whose::New { .. });
    let has_place = match form.refusal.and_then(|refusal| refusal.field) {
        Some(Field::Name) => has_name,
        Some(Field::Password | Field::Again) => true,
        None => false,
    };
    html! {
        @if let Some(refusal) = form.refusal {
            div.alert role="alert" {
                strong { (t.error_title) }
                // Else it stands at its field, which is read out with it.
                @if !has_place { " " (refusal.text) }
            }
        }
        form method="post" action={ "?lang=" (asked.language.tag()) } {
            @match form.whose {
                Whose::Of(address) => {
                    // For the browser's store of passwords.
                    input type="text" name="address" autocomplete="username" value=(address) readonly
                        hidden;
                }
                Whose::New { host, name } => {
                    (field(&Input {
                        name: "name",
                        label: t.field_name,
                        hint: Some(&fill(t.field_name_hint, &[("host", host)])),
                        is_password: false,
                        complete: "username",
                        value: name,
                        least: 1,
                        wrong: wrong(Field::Name),
                    }))
                }
            }
            (field(&Input {
                name: "password",
                label: t.field_password,
                hint: Some(&hint),
                is_password: true,
                complete: "new-password",
                value: "",
                least,
                wrong: wrong(Field::Password),
            }))
            (field(&Input {
                name: "again",
                label: t.field_again,
                hint: None,
                is_password: true,
                complete: "new-password",
                value: "",
                least: 1,
                wrong: wrong(Field::Again),
            }))
            button type="submit" { (form.button) }
        }
    }
}

struct Input<'a> {
    name: &'a str,
    label: &'a str,
    hint: Option<&'a str>,
    is_password: bool,
    complete: &'a str,
    value: &'a str,
    least: usize,
    wrong: Option<&'a Refusal>,
}

/// An input with its label; hint and error are read out with it.
fn field(input: &Input<'_>) -> Markup {
    let (name, hint) = (input.name, format!("{}-hint", input.name));
    let error = format!("{name}-error");
    let described = match (input.hint, input.wrong) {
        (Some(_), Some(_)) => Some(format!("{error} {hint}")),
        (Some(_), None) => Some(hint.clone()),
        (None, Some(_)) => Some(error.clone()),
        (None, None) => None,
    };
    let ty = if input.is_password { "password" } else { "text" };
    html! {
        div.field {
            label for=(name) { (input.label) }
            @if let Some(text) = input.hint {
                p.hint id=(hint) { (text) }
            }
            @if let Some(refusal) = input.wrong {
                p.error id=(error) { (refusal.text) }
            }
            input type=(ty) id=(name) name=(name) value=[(!input.is_password).then_some(input.value)]
                required minlength=(input.least) maxlength="1023" autocomplete=(input.complete)
                autocapitalize="none" autocorrect="off" spellcheck="false"
                aria-invalid=[input.wrong.map(|_| "true")] aria-describedby=[described]
                autofocus[input.wrong.is_some()];
        }
    }
}
