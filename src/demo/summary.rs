//! What stands before and after the demonstration's alerts.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::plant::{PRESSES, SPINDLES};
use super::settings::PREFIX;

/// What is running, and where to look.
#[derive(Clone, Debug)]
pub struct Header {
    pub broker: SocketAddr,
    pub plc: SocketAddr,
    pub metrics: Option<SocketAddr>,
    pub database: PathBuf,
    pub settings: PathBuf,
    /// Absent: until it is stopped.
    pub length: Option<Duration>,
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (spindles, presses) = (SPINDLES.len(), PRESSES.len());
        let length = match self.length {
            Some(length) => format!("It ends after {}.", humantime::format_duration(length)),
            None => "Ctrl-C ends it.".to_owned(),
        };
        let broker = format!("mqtt://{}", self.broker);
        let plc = format!("tcp://{}", self.plc);
        let mut rows = vec![
            ("alerts", format!("{broker}, topic {PREFIX}/+/alert/+/event")),
            ("all messages", format!("{broker}, topic {PREFIX}/#")),
            ("presses", format!("Modbus {plc}, units 1 to {presses}")),
            ("database", self.database.display().to_string()),
            ("configuration", self.settings.display().to_string()),
        ];
        if let Some(metrics) = self.metrics {
            rows.insert(3, ("board", format!("http://{metrics}")));
        }
        writeln!(f, "A simulated line of {spindles} spindles and {presses} presses is running,")?;
        writeln!(f, "and andon watches it. Things will go wrong. {length}\n")?;
        for (name, value) in rows {
            writeln!(f, "  {name:<14} {value}")?;
        }
        writeln!(f)
    }
}

/// What the demonstration came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    pub samples_received: u64,
    pub samples_stored: u64,
    pub rejected: u64,
    pub shed: u64,
    pub windows: u64,
    pub inferences: u64,
    pub alerts_raised: u64,
    pub alerts_cleared: u64,
    pub alerts_published: u64,
    pub alert_latency_ms: Latency,
}

/// From the arrival of the last sample to the broker's receipt of the alert, in milliseconds.
/// Absent without alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
}

impl Summary {
    /// One line, without its end.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and words always serialise")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            ("samples received", self.samples_received),
            ("samples stored", self.samples_stored),
            ("rejected", self.rejected),
            ("shed", self.shed),
            ("windows", self.windows),
            ("inferences", self.inferences),
            ("alerts raised", self.alerts_raised),
            ("alerts cleared", self.alerts_cleared),
            ("alerts published", self.alerts_published),
        ];
        for (name, count) in counts {
            writeln!(f, "  {name:<20}{count:>10}")?;
        }
        let Latency { p50: Some(p50), p99: Some(p99) } = self.alert_latency_ms else {
            return Ok(());
        };
        writeln!(f, "  {:<20}{p50:>10.2} ms", "alert latency, p50")?;
        writeln!(f, "  {:<20}{p99:>10.2} ms", "alert latency, p99")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            samples_received: 12_345,
            samples_stored: 12_343,
            rejected: 2,
            windows: 240,
            inferences: 236,
            alerts_raised: 4,
            alerts_cleared: 3,
            alerts_published: 14,
            alert_latency_ms: Latency { p50: Some(0.42), p99: Some(1.9) },
            ..Summary::default()
        }
    }

    #[test]
    fn the_table_is_for_people() {
        insta::assert_snapshot!(summary(), @r"
        samples received         12345
        samples stored           12343
        rejected                     2
        shed                         0
        windows                    240
        inferences                 236
        alerts raised                4
        alerts cleared               3
        alerts published            14
        alert latency, p50        0.42 ms
        alert latency, p99        1.90 ms
        ");
    }

    #[test]
    fn the_line_is_for_machines() {
        insta::assert_snapshot!(
            summary().to_json(),
            @r#"{"samples_received":12345,"samples_stored":12343,"rejected":2,"shed":0,"windows":240,"inferences":236,"alerts_raised":4,"alerts_cleared":3,"alerts_published":14,"alert_latency_ms":{"p50":0.42,"p99":1.9}}"#
        );
    }

    #[test]
    fn the_header_says_where_to_look() {
        let header = Header {
            broker: SocketAddr::from(([127, 0, 0, 1], 1883)),
            plc: SocketAddr::from(([127, 0, 0, 1], 502)),
            metrics: Some(SocketAddr::from(([127, 0, 0, 1], 9187))),
            database: ".demo/andon.db".into(),
            settings: ".demo/andon.toml".into(),
            length: Some(Duration::from_secs(20)),
        };
        insta::assert_snapshot!(header, @r"
        A simulated line of 6 spindles and 3 presses is running,
        and andon watches it. Things will go wrong. It ends after 20s.

          alerts         mqtt://127.0.0.1:1883, topic demo/line1/+/alert/+/event
          all messages   mqtt://127.0.0.1:1883, topic demo/line1/#
          presses        Modbus tcp://127.0.0.1:502, units 1 to 3
          board          http://127.0.0.1:9187
          database       .demo/andon.db
          configuration  .demo/andon.toml
        ");
    }
}
