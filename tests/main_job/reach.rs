//! The commands reach the daemon by every way it can be reached.

use std::process::{Child, Command, Output};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::PATIENCE;
use super::plant::Plant;
use super::process::{andon, ended, signal};

const NO_RULES: &str = "";

fn status(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_andon"));
    command.arg("status").args(arguments).output().expect("the command")
}

/// What the command says once the daemon answers.
async fn answered(arguments: &[&str]) -> String {
    let answered = async {
        loop {
            let output = status(arguments);
            if output.status.success() {
                return String::from_utf8_lossy(&output.stdout).into_owned();
            }
            tokio::time::sleep(PATIENCE / 200).await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, answered).await;
    told.unwrap_or_else(|_| panic!("{:?}", status(arguments)))
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_its_socket_which_a_killed_one_may_have_left() {
    let plant = Plant::new(NO_RULES).await;
    let socket = plant.folder.path().join("http.sock");
    let place = format!("unix:{}", socket.display());
    plant.rewrite(|text| text.replace("127.0.0.1:0", &place));
    let config = plant.config();
    let config = config.to_str().expect("UTF-8");
    let start = || Running(andon("run", &plant.config()).spawn().expect("the daemon"));
    let first = start();
    answered(&["--url", &place]).await;
    drop(first);
    assert!(socket.exists(), "SIGKILL leaves it");
    let mut second = start();
    let by_config = answered(&["--config", config, "--json"]).await;
    assert!(serde_json::from_str::<serde_json::Value>(&by_config).is_ok(), "{by_config}");
    signal(&second.0, "-TERM");
    assert!(ended(&mut second.0).await.success());
    assert!(!socket.exists(), "an end in order takes it away");
    let gone = status(&["--url", &place]);
    let told = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(!gone.status.success() && told.contains("no daemon answers on unix:"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_with_the_plant_s_authority_and_no_other() {
    let plant = Plant::new(NO_RULES).await;
    let file = |name: &str| plant.folder.path().join(name).display().to_string();
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        std::fs::write(file(name), issuer.pem()).expect("written");
        issuer
    };
    let (issuer, _other) = (authority("ca.pem"), authority("other.pem"));
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &issuer).expect("signed");
    std::fs::write(file("box.pem"), certificate.pem()).expect("written");
    std::fs::write(file("box.key"), key.serialize_pem()).expect("written");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address").to_string();
    drop(free);
    plant.rewrite(|text| {
        let tls = format!(
            "{address}\"\ntls = {{ cert_file = {:?}, key_file = {:?} }}\nhosts = [\"x",
            file("box.pem"),
            file("box.key")
        );
        text.replace("127.0.0.1:0\"", &format!("{tls}\"]"))
    });
    let daemon = Running(andon("run", &plant.config()).spawn().expect("the daemon"));
    let url = format!("https://{address}");
    answered(&["--url", &url, "--ca", &file("ca.pem")]).await;
    answered(&["--config", &plant.config().display().to_string(), "--ca", &file("ca.pem")]).await;
    let refused = |arguments: &[&str], why: &str| {
        let output = status(arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(why), "{told}");
    };
    refused(&["--url", &url, "--ca", &file("other.pem")], "no authority in");
    refused(&["--url", &url], "needs --ca FILE");
    refused(&["--url", &format!("http://{address}")], "is this an andon daemon?");

    // On the box itself the configuration says which certificate the daemon shows.
    answered(&["--config", &plant.config().display().to_string()]).await;
    drop(daemon);
    // One of its own making for another name, as `openssl req -x509` makes it.
    let mut params =
        CertificateParams::new(vec!["box7.plant.example".to_owned()]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let own = params.self_signed(&key).expect("signed");
    std::fs::write(file("box.pem"), own.pem()).expect("written");
    std::fs::write(file("box.key"), key.serialize_pem()).expect("written");
    let _daemon = Running(andon("run", &plant.config()).spawn().expect("the daemon"));
    answered(&["--config", &plant.config().display().to_string()]).await;
    answered(&["--url", &url, "--ca", &file("box.pem")]).await;
    refused(&["--url", &url, "--ca", &file("ca.pem")], "an authority's (CA:TRUE)");
}
