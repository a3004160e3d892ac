//! Takes apart the DSNs of kine's drivers. The errors say what is missing and never repeat any of the text.

use std::collections::BTreeMap;

use secrecy::SecretString;

use super::target::{Security, Target, place};
use crate::config::ServerAddress;
use crate::config::ServerEngine as Engine;
use crate::remote::forward::Place;

/// Parameters of files on the control planes, which this machine does not have.
const FILES: [&str; 5] = ["sslcert", "sslkey", "sslrootcert", "passfile", "servicefile"];

/// pgx's form: `postgres://USER:PASSWORD@HOST[:PORT][,HOST...]/DATABASE?PARAMETERS`.
pub(super) fn postgres(text: &str) -> Result<Target, &'static str> {
    let rest = text.split_once("://").map(|(_, rest)| rest).ok_or("it has no `://`")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
    let mut parameters = parameters(query)?;
    if FILES.iter().any(|name| parameters.contains_key(*name)) {
        return Err("it names files of the control planes");
    }
    let mut take = |name: &str| parameters.remove(name);
    let port = take("port");
    let listed: Vec<String> = match take("host") {
        Some(listed) => listed.split(',').map(str::to_owned).collect(),
        None => decoded(hosts)?.split(',').map(str::to_owned).collect(),
    };
    let ports: Vec<&str> = port.as_deref().map(|port| port.split(',').collect()).unwrap_or_default();
    let mut servers = Vec::new();
    for (index, host) in listed.iter().enumerate() {
        let port = ports.get(index).or(ports.first().filter(|_| ports.len() == 1));
        servers.push(server(host, port.copied())?);
    }
    let user = take("user").map_or_else(|| decoded(user), Ok)?;
    let password = take("password").map(Ok).or_else(|| password.map(decoded)).transpose()?;
    let security = match take("sslmode").as_deref() {
        Some("disable") => Security::Off,
        None | Some("allow" | "prefer") => Security::Prefer,
        Some("require") => Security::Encrypt,
        Some("verify-full") => Security::Verify,
        Some(_) => return Err("its sslmode is none of disable, prefer, require and verify-full"),
    };
    let database = match take("dbname").or_else(|| take("database")) {
        Some(database) => database,
        None => decoded(path)?,
    };
    take("target_session_attrs");
    // kine's own default, and what it does to the name.
    let database = if database.is_empty() { "kubernetes".into() } else { database.to_lowercase() };
    target(Engine::Postgres, servers, database, user, password, security, parameters)
}

/// go-sql-driver's form: `mysql://USER:PASSWORD@NET(ADDRESS)/DATABASE?PARAMETERS`; nothing but parameters is encoded.
pub(super) fn mysql(engine: Engine, text: &str) -> Result<Target, &'static str> {
    let rest = text.split_once("://").map(|(_, rest)| rest).ok_or("it has no `://`")?;
    let (front, back) = rest.rsplit_once('/').ok_or("it has no `/` before the database")?;
    let (database, query) = back.split_once('?').unwrap_or((back, ""));
    let (login, address) = front.rsplit_once('@').unwrap_or(("", front));
    let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
    let (network, address) = match address.split_once('(') {
        Some((network, address)) => (network, address.strip_suffix(')').ok_or("a `)` is missing")?),
        None => ("tcp", address),
    };
    let server = match network {
        "unix" => ServerAddress::Socket(address.to_owned()),
        "tcp" | "" => address.parse().map_err(|_| "its address is not HOST:PORT")?,
        _ => return Err("its network is neither tcp nor unix"),
    };
    let mut parameters = parameters(query)?;
    let security = match parameters.remove("tls").as_deref() {
        None | Some("false") => Security::Off,
        Some("preferred") => Security::Prefer,
        Some("skip-verify") => Security::Encrypt,
        Some("true") => Security::Verify,
        Some(_) => return Err("its tls is none of true, false, preferred and skip-verify"),
    };
    let database = if database.is_empty() { "kubernetes".into() } else { decoded(database)? };
    let password = password.map(str::to_owned);
    target(engine, vec![place(engine, &server)], database, user.to_owned(), password, security, parameters)
}

fn target(
    engine: Engine,
    servers: Vec<Place>,
    database: String,
    user: String,
    password: Option<String>,
    security: Security,
    parameters: BTreeMap<String, String>,
) -> Result<Target, &'static str> {
    if user.is_empty() {
        return Err("it names no user");
    }
    let password = password.filter(|password| !password.is_empty()).map(SecretString::from);
    Ok(Target { engine, servers, database, user, password, security, ca: None, cert: None, key: None, parameters })
}

/// One of pgx's hosts, with the port of the same place in the list.
fn server(host: &str, port: Option<&str>) -> Result<Place, &'static str> {
    let wrong = "one of its hosts is not HOST:PORT";
    let port = port.map(|port| port.parse::<u16>().map_err(|_| "one of its ports is no number")).transpose()?;
    let address = match host.parse().map_err(|_| wrong)? {
        ServerAddress::Tcp { host, port: own } => ServerAddress::Tcp { host, port: own.or(port) },
        ServerAddress::Socket(folder) => match port {
            Some(port) => ServerAddress::Socket(format!("{}/.s.PGSQL.{port}", folder.trim_end_matches('/'))),
            None => ServerAddress::Socket(folder),
        },
    };
    Ok(place(Engine::Postgres, &address))
}

fn parameters(query: &str) -> Result<BTreeMap<String, String>, &'static str> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(&value.replace('+', " "))?))
        })
        .collect()
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let wrong = "a `%` in it is not followed by two hexadecimal digits of UTF-8";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        bytes.push(match byte {
            b'%' => match (digit(), digit()) {
                (Some(high), Some(low)) => u8::try_from(high * 16 + low).map_err(|_| wrong)?,
                _ => return Err(wrong),
            },
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use secrecy::ExposeSecret;

    use super::*;

    fn shown(target: &Target) -> String {
        let servers: Vec<String> = target.servers.iter().map(ToString::to_string).collect();
        let password = target.password.as_ref().map(|password| password.expose_secret().to_owned());
        let Target { user, database, security, parameters, .. } = target;
        format!("{user} {password:?} {} {database} {security:?} {parameters:?}", servers.join(","))
    }

    #[test]
    fn dsns_are_taken_apart_as_the_drivers_do_it() {
        for (text, expected) in [
            ("postgres://k:p%40s%2Fs@db/Kine", r#"k Some("p@s/s") db:5432 kine Prefer {}"#),
            (
                "postgresql://k@db:6432,fd00::1/?sslmode=verify-full",
                "k None db:6432,[fd00::1]:5432 kubernetes Verify {}",
            ),
            (
                "postgres://k:p@/kine?host=a,b&port=5433,5434&sslmode=disable&default_query_exec_mode=exec",
                r#"k Some("p") a:5433,b:5434 kine Off {"default_query_exec_mode": "exec"}"#,
            ),
            (
                "postgres://k@/kine?host=%2Frun%2Fpostgresql&port=5433",
                "k None /run/postgresql/.s.PGSQL.5433 kine Prefer {}",
            ),
            ("postgres://[::1]:5432/kine?user=k&password=p", r#"k Some("p") [::1]:5432 kine Prefer {}"#),
        ] {
            assert_eq!(shown(&postgres(text).unwrap()), expected, "{text}");
        }
        for (text, expected) in [
            (
                "mysql://k:p@:/w%@tcp(db:3307)/kine?tls=true&collation=x",
                r#"k Some("p@:/w%") db:3307 kine Verify {"collation": "x"}"#,
            ),
            ("mysql://k@unix(/run/mysqld/mysqld.sock)/", "k None /run/mysqld/mysqld.sock kubernetes Off {}"),
            ("mysql://k:p@tcp([fd00::1])/kine?tls=skip-verify", r#"k Some("p") [fd00::1]:3306 kine Encrypt {}"#),
        ] {
            assert_eq!(shown(&mysql(Engine::Mysql, text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said_without_the_text() {
        for (text, why) in [
            ("postgres://db/kine", "it names no user"),
            ("postgres://k:s3cret@d b/kine", "one of its hosts is not HOST:PORT"),
            ("postgres://k:s3%zz@db/kine", "a `%` in it is not followed by two hexadecimal digits of UTF-8"),
            ("postgres://k@db/kine?sslrootcert=/ca", "it names files of the control planes"),
            (
                "postgres://k@db/kine?sslmode=verify-ca",
                "its sslmode is none of disable, prefer, require and verify-full",
            ),
        ] {
            assert_eq!(postgres(text).unwrap_err(), why, "{text}");
        }
        for (text, why) in [
            ("mysql://k:s3cret@tcp(db:3306)", "it has no `/` before the database"),
            ("mysql://k:s3cret@tcp(db:3306/kine", "a `)` is missing"),
            ("mysql://k@pipe(x)/kine", "its network is neither tcp nor unix"),
            ("mysql://k@tcp(db)/kine?tls=custom", "its tls is none of true, false, preferred and skip-verify"),
        ] {
            assert_eq!(mysql(Engine::Mysql, text).unwrap_err(), why, "{text}");
        }
    }
}
