//! How long a list may be.

/// At least one line: a list of none would look like one of nothing.
pub fn most(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("a list has at least 1 line".to_owned()),
        Ok(most) => Ok(most),
        Err(_) => Err("that is no number of lines".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_at_least_one_line() {
        assert_eq!(most("1"), Ok(1));
        assert!(most("0").is_err() && most("-1").is_err() && most("many").is_err());
    }
}
