//! Which services there are, and the plans that Heroku's users know them by.

use crate::nearest::nearest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    Postgres,
    Redis,
    Kafka,
}

impl Service {
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Redis, Self::Kafka];

    /// What the service is called on Heroku.
    pub fn on_heroku(self) -> &'static str {
        match self {
            Self::Postgres => "heroku-postgresql",
            Self::Redis => "heroku-redis",
            Self::Kafka => "heroku-kafka",
        }
    }

    /// What names of add-ons begin with.
    pub(super) fn name_prefix(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::Redis => "redis",
            Self::Kafka => "kafka",
        }
    }

    /// The attachment of the first add-on of its kind: `DATABASE` for `DATABASE_URL`.
    pub fn first_attachment(self) -> &'static str {
        match self {
            Self::Postgres => "DATABASE",
            Self::Redis => "REDIS",
            Self::Kafka => "KAFKA",
        }
    }

    /// The tiers of Heroku's plans. They mean nothing here but that commands and app.json files
    /// written for Heroku work; each has numbers and variants behind a hyphen.
    fn tiers(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &[
                "mini",
                "essential",
                "hobby",
                "dev",
                "basic",
                "standard",
                "premium",
                "private",
                "shield",
                "performance",
                "advanced",
            ],
            Self::Redis => &["mini", "hobby", "premium", "private", "shield"],
            Self::Kafka => &["basic", "standard", "extended", "private", "shield"],
        }
    }

    fn default_plan(self) -> &'static str {
        match self {
            Self::Postgres => "essential-0",
            Self::Redis => "mini",
            Self::Kafka => "basic-0",
        }
    }

    /// The service's name as users type it, all spellings.
    fn spellings(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["postgres", "postgresql", "heroku-postgresql"],
            Self::Redis => &["redis", "heroku-redis", "valkey"],
            Self::Kafka => &["kafka", "heroku-kafka"],
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Kafka => "kafka",
        })
    }
}

/// A service and a plan, as in `heroku-postgresql:mini`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub service: Service,
    /// Without the service: `mini`, `standard-0`.
    pub name: String,
}

/// Why something is no service or no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    #[error("there is no add-on service {wanted:?}{}", did_you_mean(*.nearest))]
    UnknownService {
        wanted: String,
        nearest: Option<&'static str>,
    },
    #[error("{} has no plan {wanted:?}{}", .service.on_heroku(), did_you_mean(*.nearest))]
    UnknownPlan {
        service: Service,
        wanted: String,
        nearest: Option<&'static str>,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(": did you mean {name}?"))
}

impl FromStr for Plan {
    type Err = ServiceError;

    /// Understands `SERVICE` and `SERVICE:PLAN`.
    fn from_str(text: &str) -> Result<Self, ServiceError> {
        let (wanted, plan) = match text.split_once(':') {
            Some((service, plan)) => (service, Some(plan)),
            None => (text, None),
        };
        let service = Service::ALL
            .into_iter()
            .find(|service| service.spellings().contains(&wanted))
            .ok_or_else(|| {
                let known = Service::ALL.iter().flat_map(|service| service.spellings());
                ServiceError::UnknownService {
                    wanted: wanted.to_owned(),
                    nearest: nearest(wanted, known.copied()),
                }
            })?;
        let name = plan.unwrap_or(service.default_plan());
        let tier = name.split('-').next().unwrap_or(name);
        if !service.tiers().contains(&tier) {
            return Err(ServiceError::UnknownPlan {
                service,
                wanted: name.to_owned(),
                nearest: nearest(tier, service.tiers().iter().copied()),
            });
        }
        Ok(Self {
            service,
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service.on_heroku(), self.name)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_a_heroku_user_types() {
        for (typed, shown) in [
            ("postgres", "heroku-postgresql:essential-0"),
            ("postgresql", "heroku-postgresql:essential-0"),
            ("heroku-postgresql:mini", "heroku-postgresql:mini"),
            (
                "heroku-postgresql:standard-0",
                "heroku-postgresql:standard-0",
            ),
            ("redis", "heroku-redis:mini"),
            ("heroku-redis:premium-0", "heroku-redis:premium-0"),
            ("heroku-kafka:basic-0", "heroku-kafka:basic-0"),
        ] {
            assert_eq!(typed.parse::<Plan>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn the_nearest_name_is_told() {
        for (typed, told) in [
            (
                "postgers",
                "there is no add-on service \"postgers\": did you mean postgres?",
            ),
            ("papertrail", "there is no add-on service \"papertrail\""),
            (
                "redis:mimi",
                "heroku-redis has no plan \"mimi\": did you mean mini?",
            ),
            ("kafka:", "heroku-kafka has no plan \"\""),
        ] {
            assert_eq!(typed.parse::<Plan>().unwrap_err().to_string(), told);
        }
    }
}
