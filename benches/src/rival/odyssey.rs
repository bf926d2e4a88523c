//! Odyssey: named by the user or found on the machine, with the settings that the comparison needs.

use std::{
    env,
    path::{Path, PathBuf},
    process,
};

use tokio::process::Command;

use crate::{
    flags::Plan,
    ground::{Ground, NAME},
};

/// An Odyssey of this machine.
pub(crate) struct Installed {
    path: PathBuf,
    /// As it names itself.
    pub(crate) label: String,
}

/// The one asked for, or one on PATH.
pub(super) fn find(plan: &Plan) -> Option<Installed> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join("odyssey"));
    plan.odyssey
        .clone()
        .into_iter()
        .chain(on_path)
        .filter(|program| program.is_file())
        .find_map(installed)
}

fn installed(path: PathBuf) -> Option<Installed> {
    let output = process::Command::new(&path)
        .arg("--version")
        .output()
        .ok()?;
    let label = label(&String::from_utf8_lossy(&output.stdout))?;
    Some(Installed { path, label })
}

/// `odyssey 1.5.3 (git …) release …` is `Odyssey 1.5.3`.
fn label(text: &str) -> Option<String> {
    let version = text.strip_prefix("odyssey ")?.split_whitespace().next()?;
    Some(format!("Odyssey {version}"))
}

impl Installed {
    pub(super) fn command(
        &self,
        ground: &Ground,
        plan: &Plan,
        port: u16,
    ) -> anyhow::Result<Command> {
        let certificate = ground.write("odyssey.crt", &ground.identity.certificate)?;
        let key = ground.write("odyssey.key", &ground.identity.key)?;
        let settings = format!(
            r#"daemonize no
locks_dir "{locks}"
unix_socket_dir "{locks}"
unix_socket_mode "0644"
log_format "%p %t %l [%i %s] (%c) %m\n"
log_to_stdout yes
log_session no
log_stats no
log_config no
workers 1
resolvers 1
client_max 12000
listen {{
    host "127.0.0.1"
    port {port}
    tls "allow"
    tls_cert_file "{certificate}"
    tls_key_file "{key}"
}}
storage "server" {{
    type "remote"
    host "127.0.0.1"
    port {upstream}
}}
database "{NAME}" {{
    user "{NAME}" {{
        authentication "scram-sha-256"
        password "{verifier}"
        storage "server"
        storage_user "{NAME}"
        storage_password "{NAME}"
        pool "transaction"
        pool_size {pool}
        pool_discard no
        pool_reserve_prepared_statement yes
    }}
}}
"#,
            locks = shown(&ground.path("")),
            certificate = shown(&certificate),
            key = shown(&key),
            upstream = ground.server.port(),
            verifier = ground.verifier,
            pool = plan.pool,
        );
        let file = ground.write(&format!("odyssey-{port}.conf"), &settings)?;
        let mut command = ground.unprivileged(&self.path);
        command.arg(file);
        Ok(command)
    }
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

#[cfg(test)]
mod tests {
    use super::label;

    #[test]
    fn the_version_is_read_from_the_first_line() {
        let text = "odyssey 1.5.3-rc1 (git 89c48ea2) release\ncompiled by gcc";
        assert_eq!(label(text).as_deref(), Some("Odyssey 1.5.3-rc1"));
        assert_eq!(label("PgBouncer 1.18.0"), None);
    }
}
