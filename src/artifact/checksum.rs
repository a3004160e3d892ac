//! A publisher's checksum file: a bare digest, or a list of `DIGEST  NAME` lines as sha256sum writes it.

/// The SHA-256 of the file called `name`, lower-case hex; `None` where the text does not hold it.
///
/// Lines of other forms are passed over, since runc's list is wrapped in a PGP signature.
pub fn find(text: &str, name: &str) -> Option<String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut words = text.split_whitespace();
    if let (Some(word), None) = (words.next(), words.next()) {
        return digest(word);
    }
    text.lines().find_map(|line| {
        let (word, rest) = line.trim().split_once(char::is_whitespace)?;
        // `*` marks binary mode; a leading folder is what the publisher's own build had.
        let listed = rest.trim_start().trim_start_matches('*').rsplit('/').next()?;
        (listed == name).then(|| digest(word)).flatten()
    })
}

fn digest(word: &str) -> Option<String> {
    (word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| word.to_ascii_lowercase())
}

/// The last part of a URL's path, which is what a list calls the file.
pub fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let cases = [
            ("bare", a.clone(), Some(&a)),
            ("bare, line end of Windows", format!("{a}\r\n"), Some(&a)),
            ("bare, upper case, byte order mark", format!("\u{feff}{}\n", a.to_uppercase()), Some(&a)),
            ("list", format!("{b}  runc.arm64\n{a}  runc.amd64\n"), Some(&a)),
            ("list in binary mode", format!("{a} *runc.amd64\r\n"), Some(&a)),
            ("list with folders", format!("{b}  ./out/runc.arm64\n{a}  ./out/runc.amd64"), Some(&a)),
            (
                "signed list",
                format!(
                    "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{a}  runc.amd64\n-----BEGIN PGP SIGNATURE-----\niQI\n"
                ),
                Some(&a),
            ),
            ("list without it", format!("{b}  runc.arm64\n"), None),
            ("a name that only ends alike", format!("{b}  crunc.amd64\n"), None),
            ("a page", "<html><body>not found</body></html>".into(), None),
            ("empty", String::new(), None),
            ("too short", "abc123".into(), None),
            ("not hex", "z".repeat(64), None),
            ("list with a short digest", "abc123  runc.amd64".into(), None),
        ];
        for (what, text, expected) in cases {
            assert_eq!(find(&text, "runc.amd64").as_ref(), expected, "{what}");
        }
    }

    #[test]
    fn a_file_is_called_by_the_end_of_its_path() {
        assert_eq!(file_name("http://10.0.0.5:8080/dl.k8s.io/bin/kubelet"), "kubelet");
        assert_eq!(file_name("https://host/runc.amd64?token=a/b#c"), "runc.amd64");
    }
}
