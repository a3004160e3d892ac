//! Asking a source for checksum and size: what is asked, what a host's script prints, and the same from this machine.

use futures_util::future;

use super::http;
use crate::failure::Failure;

/// Checksum files are a few lines; nothing larger is read.
const LONGEST: usize = 1 << 20;

/// One file as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// The catalogue's name for it.
    pub(super) name: String,
    /// Name and version, for people.
    pub(super) title: String,
    /// Mirror applied.
    pub(super) url: String,
    /// Mirror applied.
    pub(super) checksum_url: String,
}

/// How one transfer ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// HTTP status; 0 where there was no answer.
    pub(super) status: u16,
    /// The body of a checksum file.
    pub(super) text: String,
    /// `Content-Length` of the file, 0 where the source does not tell.
    pub(super) size: u64,
}

/// What came of asking for one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) checksum: Reply,
    pub(super) file: Reply,
    /// The transport's own words, where one of the two got no answer.
    pub(super) error: Option<String>,
}

/// Which of two addresses gave no answer.
pub(super) struct Unreached<'a> {
    checksum: bool,
    pub(super) why: &'a str,
}

impl Unreached<'_> {
    /// The address.
    pub(super) fn of<'a>(&self, asked: &'a Asked) -> &'a str {
        if self.checksum { &asked.checksum_url } else { &asked.url }
    }
}

impl Answer {
    /// The address that gave no answer, if one did not.
    pub(super) fn unreached(&self) -> Option<Unreached<'_>> {
        let checksum = self.checksum.status == 0;
        let why = self.error.as_deref().unwrap_or("no answer");
        (checksum || self.file.status == 0).then_some(Unreached { checksum, why })
    }
}

/// The standard input of `scripts/resolve.sh`.
pub(super) fn lines(asked: &[Asked], registry: Option<&str>) -> String {
    let files = asked.iter().map(|asked| format!("{} {}\n", asked.checksum_url, asked.url));
    files.chain(registry.map(|url| format!("{url}\n"))).collect()
}

/// Reads the output of `scripts/resolve.sh` for `count` lines of input.
pub(super) fn read(output: &str, count: usize) -> Vec<Answer> {
    let mut answers = vec![Progress::default(); count];
    for line in output.lines() {
        let (number, text) = line.split_once(' ').unwrap_or((line, ""));
        let index = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        if let Some(answer) = index.and_then(|index| answers.get_mut(index)) {
            answer.take(text);
        }
    }
    answers.into_iter().map(Progress::done).collect()
}

/// The answer of one input line, while its output is read.
#[derive(Clone, Default)]
struct Progress {
    answer: Answer,
    transfers: usize,
}

impl Progress {
    fn take(&mut self, text: &str) {
        let reply = if self.transfers == 0 { &mut self.answer.checksum } else { &mut self.answer.file };
        if let Some(status) = text.strip_prefix("== ") {
            reply.status = status.trim().parse().unwrap_or(0);
            self.transfers += 1;
        } else if let Some((_code, why)) = text.strip_prefix("curl: (").and_then(|rest| rest.split_once(") ")) {
            self.answer.error = Some(why.trim().to_owned());
        } else if self.transfers == 0 {
            reply.text.push_str(text);
            reply.text.push('\n');
        } else if let Some((name, value)) = text.split_once(':') {
            // Every redirect sends headers of its own; the last are the file's.
            if name.eq_ignore_ascii_case("content-length") {
                reply.size = value.trim().parse().unwrap_or(0);
            }
        } else if text.starts_with("HTTP/") {
            reply.size = 0;
        }
    }

    fn done(mut self) -> Answer {
        if self.transfers == 1 && self.answer.checksum.status != 0 {
            match self.answer.error {
                // The checksum file broke off, and its file was not asked for.
                Some(_) => self.answer.checksum.status = 0,
                // An address that is only to be reached has one transfer.
                None => self.answer.file.status = self.answer.checksum.status,
            }
        }
        self.answer
    }
}

/// The same from this machine, all side by side.
pub(super) async fn ask(asked: &[Asked]) -> Result<Vec<Answer>, Failure> {
    let client = http::client()?;
    Ok(future::join_all(asked.iter().map(|asked| ask_one(client, asked))).await)
}

async fn ask_one(client: &reqwest::Client, asked: &Asked) -> Answer {
    let (checksum, file) = future::join(body(client, &asked.checksum_url), head(client, &asked.url)).await;
    let mut answer = Answer::default();
    match checksum {
        Ok(reply) => answer.checksum = reply,
        Err(error) => answer.error = Some(http::cause(&error)),
    }
    match file {
        Ok(reply) => answer.file = reply,
        Err(error) => answer.error = answer.error.or_else(|| Some(http::cause(&error))),
    }
    answer
}

async fn body(client: &reqwest::Client, url: &str) -> reqwest::Result<Reply> {
    let mut response = client.get(url).send().await?;
    let mut body = vec![];
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            break;
        }
    }
    Ok(Reply { status: response.status().as_u16(), text: String::from_utf8_lossy(&body).into_owned(), size: 0 })
}

async fn head(client: &reqwest::Client, url: &str) -> reqwest::Result<Reply> {
    let response = client.head(url).send().await?;
    // The response's own `content_length` is that of its body, which is empty.
    let length = response.headers().get(reqwest::header::CONTENT_LENGTH);
    let size = length.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    Ok(Reply { status: response.status().as_u16(), text: String::new(), size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_parallel_transfers_is_told_apart() {
        let output = "\
2 <html>
1 aaaa  kubelet
2 </html>
1 
1 == 200
2 == 200
1 HTTP/1.1 302 Found\r
1 Content-Length: 0\r
1 Location: http://elsewhere/\r
1 \r
1 HTTP/2 200\r
3 curl: (7) Failed to connect to 10.0.0.5 port 8080: Connection refused
2 HTTP/1.1 404 Not Found\r
1 content-length: 1234\r
1 
3 == 000
1 == 200
2 
2 == 404
4 == 401
9 == 200
noise
";
        let answers = read(output, 5);
        assert_eq!(answers[0].checksum.status, 200);
        assert_eq!(answers[0].checksum.text.trim(), "aaaa  kubelet");
        assert_eq!((answers[0].file.status, answers[0].file.size), (200, 1234));
        assert_eq!(answers[1].checksum.text.trim(), "<html>\n</html>");
        assert_eq!((answers[1].file.status, answers[1].file.size), (404, 0));
        let why = "Failed to connect to 10.0.0.5 port 8080: Connection refused";
        assert_eq!(answers[2].unreached().map(|unreached| unreached.why), Some(why));
        assert!(answers[3].unreached().is_none(), "a registry that asks for a token is reached");
        assert_eq!(answers[4].unreached().map(|unreached| unreached.why), Some("no answer"));
    }

    #[test]
    fn a_redirect_to_an_address_without_answer_is_the_files() {
        let answers =
            read("1 aaaa\n1 == 200\n1 HTTP/1.1 302 Found\n1 curl: (6) Could not resolve host: cdn\n1 == 000\n", 1);
        let unreached = answers[0].unreached();
        assert_eq!(
            unreached.as_ref().map(|unreached| (unreached.checksum, unreached.why)),
            Some((false, "Could not resolve host: cdn"))
        );
    }

    #[test]
    fn a_size_before_the_last_redirect_does_not_count() {
        let answers =
            read("1 aaaa\n1 == 200\n1 HTTP/1.1 302 Found\n1 Content-Length: 77\n1 HTTP/1.1 200 OK\n1 == 200\n", 1);
        assert_eq!(answers[0].file.size, 0);
    }
}
