//! `datastore get`: what a key holds.

use super::open;
use crate::cli::Show;
use crate::cli::datastore::{Form, Get};
use crate::commands::{Ended, session};
use crate::datastore::explore::{Version, key, show};
use crate::datastore::value::{Value, decode};
use crate::failure::{Failure, Kind};
use crate::ui::{self, Format};

pub(super) async fn run(args: Get) -> Result<(), Ended> {
    let Get { look, revision, output, show_secrets, show_managed_fields } = args;
    let seconds = look.timeout;
    let (target, words) = open::words(look, ["KEY"], false)?;
    let key = words.first().map(|said| key::key(said)).unwrap_or_default();
    let quiet = Show { output: Format::Text, verbose: false };
    session::under_ui(quiet, |ui, _| async move {
        let opened = open::open(&ui, &target, seconds).await?;
        let mut store = opened.store_of(&key).await?;
        let Some(version) = store.at(&key, revision).await.map_err(|error| opened.failed(error))? else {
            return Err(opened.missing(&mut store, &key, revision).await);
        };
        ui.settled().await;
        let value = decode(&version.value);
        if matches!(output, Form::Hex | Form::Raw) {
            return stored(&key, &value, &version, output, show_secrets);
        }
        let shown = match value {
            Value::Object(object) => {
                let object = show::as_kubectl(object, &version, show_managed_fields);
                if show_secrets { object } else { show::masked(object, None) }
            }
            other => show::instead(&other, &key, &version),
        };
        let internal = |error: String| Failure::new(Kind::Internal, format!("{key} cannot be written: {error}"));
        ui::result(&match output {
            Form::Json => serde_json::to_string_pretty(&shown).map_err(|error| internal(error.to_string()))?,
            _ => show::as_yaml(&shown).map_err(internal)?,
        });
        Ok(())
    })
    .await
}

/// The bytes themselves. Of Secrets that are not encrypted only where that is asked for.
fn stored(key: &str, value: &Value, version: &Version, form: Form, show_secrets: bool) -> Result<(), Failure> {
    let in_the_clear = !matches!(value, Value::Encrypted { .. });
    if in_the_clear && key::resource(key) == "secrets" && !show_secrets {
        let failure = Failure::new(Kind::Usage, format!("{key} is a Secret in the clear"));
        return Err(failure.hint("show it whole: --show-secrets"));
    }
    match form {
        Form::Raw => ui::raw(&version.value),
        _ => ui::result(&show::hex(&version.value)),
    }
    Ok(())
}
