//! Whether a host gets through the proxy: asked once something is to be downloaded there, since an answer is worth nothing before.

use std::time::Duration;

use super::Check;
use super::list::every;
use crate::config::ProxyEnvironment;
use crate::failure::{Failure, Finding, Kind};
use crate::remote::{Query, Question};

/// The longest that the answer may take.
const DEADLINE: Duration = Duration::from_secs(45);

/// What `--ignore-preflight` takes.
pub const NAME: &str = "Proxy";

/// The check by its name; the survey asks, so it finds nothing in facts.
pub(super) const PROXY: Check = every(NAME, "the proxy lets the host through", |_| Vec::new());

/// What one question through the proxy came to.
#[derive(Debug, Default)]
struct Answer {
    /// Of the proxy's CONNECT, for an `https://` address.
    connect: u16,
    status: u16,
    reached: bool,
    error: Option<String>,
}

/// Asks the proxy from a host for something that is needed there; where nothing goes through it that is known, asks the proxy alone.
pub async fn ask(
    proxy: &ProxyEnvironment,
    url: Option<&str>,
    host: &impl Query,
    label: &str,
) -> Result<Option<Finding>, Failure> {
    let through = url.and_then(|url| Some((proxy.of(url)?, url)));
    let (address, url) = through.unwrap_or((&proxy.http, ""));
    let question = Question {
        script: include_str!("../scripts/proxy_asked.sh"),
        args: vec![address.to_owned(), url.to_owned()],
        input: Vec::new(),
        deadline: DEADLINE,
    };
    let output =
        host.ask(question).await.map_err(|error| Failure::new(Kind::Connection, format!("{label}: {error}")))?;
    // A host without curl is told so by another check.
    if output.status != 0 {
        return Ok(None);
    }
    Ok(judge(address, url, &read(&String::from_utf8_lossy(&output.stdout))))
}

fn read(output: &str) -> Answer {
    let mut answer = Answer::default();
    for line in output.lines() {
        if let Some((_, why)) = line.strip_prefix("curl: (").and_then(|rest| rest.split_once(") ")) {
            answer.error = Some(why.trim().to_owned());
        } else if let [connect, status, seconds] = line.split(' ').collect::<Vec<_>>()[..] {
            answer.connect = connect.parse().unwrap_or(0);
            answer.status = status.parse().unwrap_or(0);
            answer.reached = seconds.parse::<f64>().is_ok_and(|seconds| seconds > 0.0);
        }
    }
    answer
}

fn judge(proxy: &str, url: &str, answer: &Answer) -> Option<Finding> {
    if !answer.reached {
        let why = answer.error.clone().unwrap_or_else(|| "no answer".into());
        let fix = "see that the proxy runs and lets this host in, or change `spec.proxy`";
        return Some(Finding::error(format!("cannot reach the proxy {proxy}"), why, fix));
    }
    // What a proxy says to a client that does not ask it for anything is nobody's worry.
    if url.is_empty() {
        return None;
    }
    let status = if answer.connect >= 400 { answer.connect } else { answer.status };
    let host = crate::config::proxy::host_of(url);
    match status {
        407 => Some(Finding::error(
            format!("is asked for a login by the proxy {proxy}"),
            "it answers HTTP 407, and etcdless keeps no password for a proxy",
            "let the proxy pass this host by its address",
        )),
        403 => Some(Finding::error(
            format!("may not ask the proxy {proxy} for {url}"),
            "it answers HTTP 403",
            format!("let the proxy pass {host}, or name it in `spec.proxy.no` where hosts reach it directly"),
        )),
        500.. => Some(Finding::error(
            format!("gets nothing from {url} through the proxy {proxy}"),
            format!("it answers HTTP {status}"),
            format!("see that the proxy reaches {host}, or name it in `spec.proxy.no` where hosts reach it directly"),
        )),
        0 => Some(Finding::error(
            format!("gets nothing from {url} through the proxy {proxy}"),
            answer.error.clone().unwrap_or_else(|| "no answer".into()),
            format!("see that the proxy reaches {host}, or name it in `spec.proxy.no` where hosts reach it directly"),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_answers() {
        let (proxy, url) = ("http://proxy:3128", "https://dl.k8s.io/x");
        let said = |url: &str, output: &str| {
            judge(proxy, url, &read(output)).map(|finding| finding.to_string()).unwrap_or_default()
        };
        for (output, expected) in [
            ("200 200 0.001\n", ""),
            ("000 404 0.001\n", ""),
            (
                "curl: (7) Failed to connect to proxy port 3128: Connection refused\n000 000 0.000000\n",
                "cannot reach the proxy http://proxy:3128: Failed to connect to proxy port 3128: Connection refused; fix: see that the proxy runs",
            ),
            (
                "curl: (5) Could not resolve proxy: proxy\n000 000 0.000000\n",
                "cannot reach the proxy http://proxy:3128: Could not resolve proxy: proxy",
            ),
            ("407 000 0.001\ncurl: (56) CONNECT tunnel failed, response 407\n", "is asked for a login by the proxy"),
            ("000 407 0.001\n", "is asked for a login by the proxy"),
            (
                "403 000 0.001\ncurl: (56) CONNECT tunnel failed, response 403\n",
                "may not ask the proxy http://proxy:3128 for https://dl.k8s.io/x: it answers HTTP 403; fix: let the proxy pass dl.k8s.io",
            ),
            ("000 403 0.001\n", "may not ask the proxy"),
            (
                "503 000 0.001\ncurl: (56) CONNECT tunnel failed, response 503\n",
                "gets nothing from https://dl.k8s.io/x through the proxy http://proxy:3128: it answers HTTP 503",
            ),
            (
                "curl: (28) Operation timed out after 30001 milliseconds\n000 000 0.001\n",
                "gets nothing from https://dl.k8s.io/x",
            ),
        ] {
            let text = said(url, output);
            assert!(text.starts_with(expected) && text.is_empty() == expected.is_empty(), "{output}: {text}");
        }
        assert_eq!(said("", "000 400 0.001\n"), "");
        assert_eq!(said("", "curl: (52) Empty reply from server\n000 000 0.001\n"), "");
        assert!(said("", "curl: (7) refused\n000 000 0.000000\n").starts_with("cannot reach the proxy"));
    }
}
