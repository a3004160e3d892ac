//! Where files come from, and what the source says about them before anything is planned: is it there, which digest, how large.

use std::time::Duration;

use super::probe::{self, Answer, Asked};
use super::{Item, Resolved, Sources, checksum};
use crate::config::{Artifacts, Cluster, Delivery, ProxyEnvironment};
use crate::failure::{Failure, Kind};
use crate::remote::script::environment;
use crate::remote::{Query, Question, RemoteError};

/// The longest that a host may take for all its answers.
const DEADLINE: Duration = Duration::from_secs(75);

/// The address to ask for a publisher's URL: `https://dl.k8s.io/x` becomes `MIRROR/dl.k8s.io/x`.
pub fn mirrored(artifacts: &Artifacts, url: &str) -> String {
    let Some(mirror) = &artifacts.mirror else { return url.to_owned() };
    let path = url.split_once("://").map_or(url, |(_, path)| path);
    let scheme = if mirror.contains("://") { "" } else { "http://" };
    format!("{scheme}{}/{path}", mirror.trim_end_matches('/'))
}

/// Asks the source for the digest and size of every item, from the host (node) or from here (push). Changes nothing anywhere.
///
/// `label` is what people call the host. With `auto`, a host counts as able to fetch by itself when it reaches the source of every item
/// and the registry.
/// A host asks through the proxy; this machine, where it fetches for hosts, goes by its own environment.
pub async fn resolve(
    cluster: &Cluster,
    proxy: Option<&ProxyEnvironment>,
    items: &[Item],
    host: &impl Query,
    label: &str,
) -> Result<Sources, Failure> {
    let artifacts = &cluster.spec.artifacts;
    check_mirror(artifacts)?;
    let asked: Vec<Asked> = items.iter().map(|item| asked(artifacts, item)).collect();
    match artifacts.delivery {
        Delivery::Push => from_here(artifacts, &asked).await,
        Delivery::Node => {
            let answers = from_host(&asked, None, proxy, host, label).await?;
            let sources = collect(artifacts, &asked, &answers.files, &asker(label, proxy, &asked), false);
            sources.map_err(|failure| if answers.all_reached() { failure } else { failure.hint(PUSH) })
        }
        Delivery::Auto => {
            let answers = from_host(&asked, Some(registry_url(cluster)), proxy, host, label).await;
            match answers {
                Ok(answers) if answers.all_reached() => {
                    collect(artifacts, &asked, &answers.files, &asker(label, proxy, &asked), false)
                }
                // Whoever cannot fetch by itself is served from here; if that fails too, both causes are told.
                Ok(answers) => from_here(artifacts, &asked).await.map_err(|failure| match answers.unreached(&asked) {
                    Some((url, why)) => {
                        failure.detail(format!("{} cannot reach {url} either: {why}", asker(label, proxy, &asked)))
                    }
                    None => failure,
                }),
                Err(lost) if lost.kind == Kind::Connection => Err(lost),
                Err(why) => from_here(artifacts, &asked).await.map_err(|failure| failure.detail(why.message)),
            }
        }
    }
}

/// The same from this machine, in the order of the items; of one name, there may be several versions.
pub async fn resolve_here(artifacts: &Artifacts, items: &[Item]) -> Result<Vec<Resolved>, Failure> {
    check_mirror(artifacts)?;
    let asked: Vec<Asked> = items.iter().map(|item| asked(artifacts, item)).collect();
    let answers = probe::ask(&asked).await?;
    judge_all(artifacts, &asked, &answers, "this machine")
}

/// Who asked, and by which way.
fn asker(label: &str, proxy: Option<&ProxyEnvironment>, asked: &[Asked]) -> String {
    let way = asked.first().and_then(|asked| proxy?.of(&asked.checksum_url));
    way.map_or_else(|| label.to_owned(), |proxy| format!("{label}, which goes through the proxy {proxy},"))
}

/// What a host fetches first of these, or else the root of what it pulls images from.
pub fn first_url(cluster: &Cluster, items: &[Item]) -> String {
    let file = items.first().map(|item| mirrored(&cluster.spec.artifacts, &item.checksum_url));
    file.unwrap_or_else(|| registry_url(cluster))
}

const PUSH: &str = "`--delivery push` fetches on this machine and sends over SSH";

fn asked(artifacts: &Artifacts, item: &Item) -> Asked {
    Asked {
        title: format!("{} {}", item.name, item.version),
        name: item.name.clone(),
        url: mirrored(artifacts, &item.url),
        checksum_url: mirrored(artifacts, &item.checksum_url),
    }
}

fn check_mirror(artifacts: &Artifacts) -> Result<(), Failure> {
    let Some(mirror) = &artifacts.mirror else { return Ok(()) };
    let scheme = if mirror.contains("://") { "" } else { "http://" };
    let url = reqwest::Url::parse(&format!("{scheme}{mirror}"));
    let usable = !mirror.contains(char::is_whitespace) && url.is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if usable {
        return Ok(());
    }
    let message = format!("`{mirror}` is not the address of a mirror");
    Err(Failure::new(Kind::Config, message).hint("write it as http://HOST:PORT or https://HOST/PATH"))
}

/// What a host asks to learn whether it can pull images: the registry's own root.
fn registry_url(cluster: &Cluster) -> String {
    let spec = &cluster.spec;
    let publisher = || {
        let host = spec.kubernetes.image_repository.as_ref().map_or("registry.k8s.io", |repository| repository.host());
        format!("https://{host}")
    };
    format!("{}/v2/", spec.artifacts.registry_url().unwrap_or_else(publisher))
}

/// What a host was answered.
struct Answers {
    files: Vec<Answer>,
    registry: Option<(String, Answer)>,
}

impl Answers {
    fn all_reached(&self) -> bool {
        self.files
            .iter()
            .chain(self.registry.iter().map(|(_, answer)| answer))
            .all(|answer| answer.unreached().is_none())
    }

    /// The first address that gave no answer, and why.
    fn unreached<'a>(&'a self, asked: &'a [Asked]) -> Option<(&'a str, &'a str)> {
        let files =
            asked.iter().zip(&self.files).find_map(|(asked, answer)| answer.unreached().map(|u| (u.of(asked), u.why)));
        files.or_else(|| self.registry.as_ref().and_then(|(url, answer)| Some((url.as_str(), answer.unreached()?.why))))
    }
}

/// One round trip: the host asks for everything side by side.
async fn from_host(
    asked: &[Asked],
    registry: Option<String>,
    proxy: Option<&ProxyEnvironment>,
    host: &impl Query,
    label: &str,
) -> Result<Answers, Failure> {
    if asked.is_empty() && registry.is_none() {
        return Ok(Answers { files: vec![], registry: None });
    }
    let variables = proxy.map(ProxyEnvironment::variables).unwrap_or_default();
    let question = Question {
        script: concat!(include_str!("../remote/scripts/environment.sh"), include_str!("scripts/resolve.sh")),
        args: [environment(&variables), vec![super::http::CONNECT_TIMEOUT.as_secs().to_string()]].concat(),
        input: probe::lines(asked, registry.as_deref()).into_bytes(),
        deadline: DEADLINE,
    };
    let preflight = |message: String| Failure::new(Kind::Preflight, message).hint(PUSH);
    let output = host.ask(question).await.map_err(|error| match error {
        RemoteError::TimedOut { .. } => preflight(format!("{label} could not ask the source: {error}")),
        error => Failure::new(Kind::Connection, error.to_string()),
    })?;
    match output.status {
        0 => {
            let count = asked.len() + usize::from(registry.is_some());
            let mut files = probe::read(&String::from_utf8_lossy(&output.stdout), count);
            let registry = registry.and_then(|url| Some((url, files.pop()?)));
            Ok(Answers { files, registry })
        }
        127 => Err(preflight(format!("{label} has no curl, which it needs to fetch files")).hint("install curl on it")),
        status => {
            let lines = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
            Err(preflight(format!("{label} could not ask the source: the script ended with status {status}"))
                .output(lines))
        }
    }
}

async fn from_here(artifacts: &Artifacts, asked: &[Asked]) -> Result<Sources, Failure> {
    collect(artifacts, asked, &probe::ask(asked).await?, "this machine", true)
}

/// Digests and sizes of all, or a failure that names every file that is wrong.
fn collect(
    artifacts: &Artifacts,
    asked: &[Asked],
    answers: &[Answer],
    who: &str,
    push: bool,
) -> Result<Sources, Failure> {
    let resolved = judge_all(artifacts, asked, answers, who)?;
    let files = asked.iter().map(|asked| asked.name.clone()).zip(resolved).collect();
    Ok(Sources { files, push, packages: false })
}

fn judge_all(artifacts: &Artifacts, asked: &[Asked], answers: &[Answer], who: &str) -> Result<Vec<Resolved>, Failure> {
    let (mut sources, mut problems) = (vec![], vec![]);
    for (asked, answer) in asked.iter().zip(answers) {
        match judge(asked, answer, who) {
            Ok(resolved) => sources.push(resolved),
            Err(problem) => problems.push(problem),
        }
    }
    // A source that one file cannot reach fails them all in the same words.
    problems.sort_by_key(|problem| !problem.unreachable);
    let mut problems = problems.into_iter();
    let Some(first) = problems.next() else { return Ok(sources) };
    let hint = match (&artifacts.mirror, first.unreachable) {
        (Some(mirror), true) => format!("check that {mirror} is up; `--mirror URL` names another"),
        (None, true) => "`--mirror URL` names a source that can be reached".into(),
        (Some(mirror), false) => format!("put it right on {mirror}, or name another source with `--mirror URL`"),
        (None, false) => "check the versions in the description; `--mirror URL` names another source".into(),
    };
    let failure = Failure::new(Kind::Preflight, first.message).hint(hint);
    let others = problems.filter(|problem| !problem.unreachable);
    Err(others.fold(failure, |failure, problem| failure.detail(problem.message)))
}

/// Why one file cannot be fetched.
struct Problem {
    message: String,
    unreachable: bool,
}

fn judge(asked: &Asked, answer: &Answer, who: &str) -> Result<Resolved, Problem> {
    let Asked { title, url, checksum_url, .. } = asked;
    let problem = |message: String| Problem { message, unreachable: false };
    if let Some(unreached) = answer.unreached() {
        let message = format!("{who} cannot reach {}, needed for {title}: {}", unreached.of(asked), unreached.why);
        return Err(Problem { message, unreachable: true });
    }
    match answer.checksum.status {
        200..=299 => {}
        404 | 410 => {
            return Err(problem(format!("the source has no checksum of {title}: {checksum_url} is not there")));
        }
        status => {
            return Err(problem(format!(
                "the checksum of {title} cannot be read: {checksum_url} answers HTTP {status}"
            )));
        }
    }
    let sha256 = checksum::find(&answer.checksum.text, checksum::file_name(&asked.url)).ok_or_else(|| {
        let start: String = answer.checksum.text.trim().lines().next().unwrap_or_default().chars().take(60).collect();
        let found = if start.is_empty() { "it is empty".into() } else { format!("it starts with `{start}`") };
        problem(format!("{checksum_url} holds no SHA-256 of {title}: {found}"))
    })?;
    match answer.file.status {
        404 | 410 => Err(problem(format!("the source does not have {title}: {url} is not there"))),
        500.. => Err(problem(format!("the source does not give {title}: {url} answers HTTP {}", answer.file.status))),
        // A server may refuse to tell the size alone; that says nothing about the file.
        _ => Ok(Resolved { sha256, size: answer.file.size }),
    }
}
