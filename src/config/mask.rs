//! Secrets do not stand in the configuration; where somebody has written one all the same,
//! nobody else is shown it.

const MASK: char = '•';
const SECRET: [&str; 6] = ["password", "passwd", "passphrase", "secret", "token", "api_key"];

/// The line with whatever looks like a secret hidden; every character keeps its column.
pub fn masked(line: &str) -> String {
    let mut shown: Vec<char> = line.chars().collect();
    hide_user_info(&mut shown);
    hide_values(&mut shown);
    shown.into_iter().collect()
}

/// `mqtt://user:password@host`
fn hide_user_info(shown: &mut [char]) {
    let mut at = 0;
    while let Some(scheme) = shown[at..].windows(3).position(|three| three == [':', '/', '/']) {
        let start = at + scheme + 3;
        let ends = |c: &char| matches!(c, '/' | '"' | '\'' | ' ');
        let end = shown[start..].iter().position(ends).map_or(shown.len(), |end| start + end);
        if let Some(sign) = shown[start..end].iter().rposition(|c| *c == '@') {
            shown[start..start + sign].fill(MASK);
        }
        at = end;
    }
}

/// `password = "…"`, also inside of an inline table and as `ANDON__…__PASSWORD=…`.
fn hide_values(shown: &mut [char]) {
    let mut at = 0;
    while let Some(sign) = shown[at..].iter().position(|c| *c == '=') {
        let sign = at + sign;
        at = sign + 1;
        if !is_secret(&shown[..sign]) {
            continue;
        }
        let Some(start) = shown[at..].iter().position(|c| !c.is_whitespace()) else { return };
        let start = at + start;
        let end = match shown[start] {
            quote @ ('"' | '\'') => shown[start + 1..].iter().rposition(|c| *c == quote),
            _ => None,
        };
        let end = end.map_or(shown.len(), |end| start + 1 + end);
        shown[start..end].fill(MASK);
        at = end;
    }
}

/// Whether the name at the end of `before` is that of a secret; `…_file` only says where one is.
fn is_secret(before: &[char]) -> bool {
    let written: String = before.iter().collect();
    let quotes = |c: char| c == '"' || c == '\'' || c.is_whitespace();
    let written = written.trim_end_matches(quotes).to_ascii_lowercase();
    let ends = |c: char| !(c.is_alphanumeric() || c == '_' || c == '-');
    let name = written.rsplit(ends).next().unwrap_or_default().replace('-', "_");
    !name.ends_with("_file") && SECRET.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn secrets_are_hidden_and_columns_stay() {
        for (line, shown) in [
            (
                "url = \"mqtt://me:s3cret@plant:1883\" # a",
                "url = \"mqtt://•••••••••@plant:1883\" # a",
            ),
            ("password = \"a=b\"", "password = ••••\""),
            ("password_file = \"/etc/andon/p\"", "password_file = \"/etc/andon/p\""),
            ("http = { token = 'abc' }", "http = { token = ••••' }"),
            ("ANDON__BROKER__A__PASSWORD=hello", "ANDON__BROKER__A__PASSWORD=•••••"),
            ("\"api-key\" = 5", "\"api-key\" = •"),
            ("topic = \"plant/{asset}/x\"", "topic = \"plant/{asset}/x\""),
        ] {
            assert_eq!(masked(line), shown);
            assert_eq!(masked(line).chars().count(), line.chars().count());
        }
    }
}
