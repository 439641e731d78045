//! What is known of an add-on: `addon.json`.

use super::certificates::Certificates;
use super::service::{Plan, Service};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// An add-on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addon {
    /// Also its folder's name.
    pub name: String,
    pub service: Service,
    /// The plan's own name: `mini`.
    pub plan: String,
    /// Tells it from others of its kind: `RED` in `HEROKU_POSTGRESQL_RED_URL`.
    pub colour: String,
    pub created_at: jiff::Timestamp,
    /// The app that it was created for.
    pub app: String,
    /// On 127.0.0.1, and nowhere else.
    pub port: u16,
    /// Of Kafka's controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_port: Option<u16>,
    /// Of Kafka alone; clusters of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Certificates>,
    /// The database's owner; empty where the service has no users.
    pub user: String,
    pub password: String,
    /// The database's name; for Kafka the cluster's id.
    pub database: String,
    /// Which apps see it, and by which config vars.
    pub attachments: Vec<Attachment>,
}

/// An app's name for an add-on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub app: String,
    /// `DATABASE` for `DATABASE_URL`.
    pub name: String,
}

/// Without the password.
impl fmt::Debug for Addon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addon")
            .field("name", &self.name)
            .field("plan", &self.plan().to_string())
            .field("port", &self.port)
            .field("attachments", &self.attachments)
            .finish_non_exhaustive()
    }
}

impl Addon {
    pub fn plan(&self) -> Plan {
        Plan {
            service: self.service,
            name: self.plan.clone(),
        }
    }

    /// The names by which an app knows it.
    pub fn names_in<'a>(&'a self, app: &'a str) -> impl Iterator<Item = &'a str> {
        let of_app = self.attachments.iter().filter(move |it| it.app == app);
        of_app.map(|attachment| attachment.name.as_str())
    }

    /// The address that clients use, with the password.
    pub fn url(&self) -> String {
        let Self {
            user,
            password,
            port,
            database,
            ..
        } = self;
        match self.service {
            Service::Postgres => {
                format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}")
            }
            Service::Redis => format!("redis://:{password}@127.0.0.1:{port}"),
            Service::Kafka if self.certificates.is_some() => {
                format!("kafka+ssl://127.0.0.1:{port}")
            }
            Service::Kafka => format!("kafka://127.0.0.1:{port}"),
        }
    }

    /// What topics of an app on a shared plan begin with, as on Heroku's basic plans.
    pub fn kafka_prefix(&self) -> Option<String> {
        let is_shared = self.service == Service::Kafka && self.plan.starts_with("basic");
        is_shared.then(|| format!("{}.", self.name))
    }

    /// The config vars of an attachment: names and values.
    pub fn config_vars(&self, attachment: &str) -> BTreeMap<String, String> {
        let mut vars = BTreeMap::from([(format!("{attachment}_URL"), self.url())]);
        if let Some(prefix) = self.kafka_prefix() {
            vars.insert(format!("{attachment}_PREFIX"), prefix);
        }
        if let Some(certificates) = &self.certificates {
            for (what, value) in [
                ("TRUSTED_CERT", &certificates.authority),
                ("CLIENT_CERT", &certificates.client.certificate),
                ("CLIENT_CERT_KEY", &certificates.client.key),
            ] {
                vars.insert(format!("{attachment}_{what}"), value.clone());
            }
        }
        vars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addon(service: Service, plan: &str) -> Addon {
        Addon {
            name: "kafka-flat-10000".to_owned(),
            service,
            plan: plan.to_owned(),
            colour: "RED".to_owned(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            app: "shop".to_owned(),
            port: 20_000,
            controller_port: None,
            certificates: None,
            user: "u1".to_owned(),
            password: "secret".to_owned(),
            database: "d1".to_owned(),
            attachments: Vec::new(),
        }
    }

    #[test]
    fn addresses() {
        let url = |service| addon(service, "mini").url();
        assert_eq!(
            url(Service::Postgres),
            "postgres://u1:secret@127.0.0.1:20000/d1"
        );
        assert_eq!(url(Service::Redis), "redis://:secret@127.0.0.1:20000");
        assert_eq!(url(Service::Kafka), "kafka://127.0.0.1:20000");
    }

    #[test]
    fn shared_plans_of_kafka_have_a_prefix() {
        let vars = addon(Service::Kafka, "basic-0").config_vars("KAFKA");
        assert_eq!(vars["KAFKA_PREFIX"], "kafka-flat-10000.");
        assert!(addon(Service::Kafka, "standard-0").kafka_prefix().is_none());
    }

    #[test]
    fn kafka_clients_get_certificates() {
        let mut addon = addon(Service::Kafka, "standard-0");
        addon.certificates = Certificates::make(jiff::Timestamp::UNIX_EPOCH).ok();
        let vars = addon.config_vars("KAFKA");
        assert_eq!(vars["KAFKA_URL"], "kafka+ssl://127.0.0.1:20000");
        for (name, begin) in [
            ("KAFKA_TRUSTED_CERT", "-----BEGIN CERTIFICATE-----\n"),
            ("KAFKA_CLIENT_CERT", "-----BEGIN CERTIFICATE-----\n"),
            ("KAFKA_CLIENT_CERT_KEY", "-----BEGIN PRIVATE KEY-----\n"),
        ] {
            assert!(vars[name].starts_with(begin), "{name}");
        }
        let shown = format!("{addon:?}");
        assert!(!shown.contains("BEGIN"), "{shown}");
    }

    #[test]
    fn the_password_is_not_in_debug_output() {
        let shown = format!("{:?}", addon(Service::Postgres, "mini"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
