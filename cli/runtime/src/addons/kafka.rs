//! Apache Kafka: one node that is broker and controller (`KRaft`), on 127.0.0.1 alone.

use super::record::Addon;
use super::server::Kind;
use sandbox::Signal;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The folder of Kafka's own programs, beside its root.
pub const KAFKA_PROGRAMS: &str = "kafka-4.1.0";

/// Where Kafka's tools find how to reach the server, where it asks for certificates.
pub const KAFKA_CLIENT: &str = "/etc/kafka/client.properties";

/// For every Java program: small and quick to start, rather than fast in the long run.
const JAVA: [&str; 6] = [
    "java",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-cp",
    "/opt/*",
];

/// The command line of one of Kafka's tools, without its arguments.
pub fn kafka_tool(class: &str) -> Vec<String> {
    JAVA.into_iter().chain([class]).map(str::to_owned).collect()
}

pub(super) const KIND: Kind = Kind {
    setup: SETUP,
    argv,
    answers,
    stop: Signal::TERM,
    patience: Duration::from_mins(5),
};

/// Clients and the controller's own show a certificate; clusters of earlier versions did not ask.
///
/// A short session lets the broker join at once after a SIGKILL: with Kafka's own nine seconds the
/// controller waits for a dead broker first. Heroku's clusters do not create topics by themselves.
const SETUP: &str = r#"
umask 077
printf %s "$ADDON_KEY_STORE" > /srv/keystore.pem
printf %s "$ADDON_AUTHORITY" > /srv/authority.pem
cat > /srv/server.properties <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$ADDON_CONTROLLER_PORT
listeners=SSL://127.0.0.1:$ADDON_PORT,CONTROLLER://127.0.0.1:$ADDON_CONTROLLER_PORT
advertised.listeners=SSL://127.0.0.1:$ADDON_PORT
controller.listener.names=CONTROLLER
inter.broker.listener.name=SSL
listener.security.protocol.map=SSL:SSL,CONTROLLER:SSL
ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location=/srv/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location=/srv/authority.pem
log.dirs=/srv/log
auto.create.topics.enable=false
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=10
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=10
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
END
java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/opt/*' kafka.tools.StorageTool format \
    --cluster-id "$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 1-22)" --config /srv/server.properties
"#;

fn argv(_: &Addon) -> Vec<String> {
    let [java, rest @ ..] = JAVA;
    [java, "-Xms96m", "-Xmx256m", "-XX:MaxDirectMemorySize=64m"]
        .into_iter()
        .chain(rest)
        .chain(["kafka.Kafka", "/srv/server.properties"])
        .map(str::to_owned)
        .collect()
}

/// Whether it answers an `ApiVersions` request: it does when the broker has joined.
fn answers(addon: &Addon) -> bool {
    ask(addon).is_ok()
}

fn ask(addon: &Addon) -> std::io::Result<()> {
    // Length, key 18, version 0, correlation id 1, no client id (Kafka protocol guide, "Header v1").
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, addon.port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    match &addon.certificates {
        Some(certificates) => exchange(&mut certificates.connect(stream)?, &REQUEST),
        None => exchange(&mut stream, &REQUEST),
    }
}

fn exchange(stream: &mut (impl Read + Write), request: &[u8]) -> std::io::Result<()> {
    stream.write_all(request)?;
    stream.flush()?;
    stream.read_exact(&mut [0; 8])
}
