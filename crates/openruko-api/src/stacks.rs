//! The stacks that apps may have, as the configuration has them.

use std::collections::BTreeMap;

use ruko_api_types::host::StackToRun;
use ruko_core::config::{ApiConfig, StackConfig};
use ruko_core::{StackName, TemplateName};

/// The template that lies over a stack image unless the configuration names another one.
const TEMPLATE: &str = "openruko-stack";

/// All of them.
#[derive(Clone, Debug)]
pub(crate) struct Stacks {
    /// Of new apps.
    pub(crate) default: StackName,
    all: BTreeMap<StackName, Stack>,
    of_images: TemplateName,
}

/// How an app on it is built and run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stack {
    pub(crate) template: TemplateName,
    /// None: the host's own `/usr`.
    pub(crate) image: Option<StackName>,
    /// For `STACK`; none: what the userland itself tells.
    pub(crate) heroku: Option<StackName>,
}

impl From<&ApiConfig> for Stacks {
    fn from(config: &ApiConfig) -> Self {
        let of_images: TemplateName = TEMPLATE.parse().unwrap_or_else(|_| config.template.clone());
        let stack = |stack: &StackConfig| {
            let usual = if stack.image.is_some() { &of_images } else { &config.template };
            Stack {
                template: stack.template.clone().unwrap_or_else(|| usual.clone()),
                image: stack.image.clone(),
                heroku: stack.heroku.clone(),
            }
        };
        let mut all: BTreeMap<_, _> =
            config.stacks.iter().map(|(name, config)| (name.clone(), stack(config))).collect();
        all.entry(config.stack.clone()).or_insert_with(|| stack(&StackConfig::default()));
        Self { default: config.stack.clone(), all, of_images }
    }
}

impl Stacks {
    /// Their names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &StackName> {
        self.all.keys()
    }

    /// How an app on this one is built. One that the configuration has no longer is nowhere silently replaced by
    /// another: its image is asked for, and the node says if it has none.
    pub(crate) fn get(&self, name: &StackName) -> Stack {
        self.all.get(name).cloned().unwrap_or_else(|| Stack {
            template: self.of_images.clone(),
            image: Some(name.clone()),
            heroku: None,
        })
    }

    /// What a dyno runs on whose slug was built on this one; none: the host's own `/usr`.
    pub(crate) fn to_run(&self, name: &StackName) -> Option<StackToRun> {
        let Stack { template, image, .. } = self.get(name);
        image.map(|image| StackToRun { template, image })
    }

    /// The one that is called so, or whose id this is.
    pub(crate) fn find(&self, asked: &str, id_of: impl Fn(&str) -> String) -> Option<&StackName> {
        self.names().find(|name| asked == name.as_str() || asked == id_of(name.as_str()))
    }

    /// All names, for a sentence.
    pub(crate) fn listed(&self) -> String {
        let shown = self.names().map(|name| {
            if *name == self.default { format!("`{name}` (of new apps)") } else { format!("`{name}`") }
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stacks(more: &str) -> Stacks {
        let digest = "ab".repeat(32);
        let text = format!(
            "listen = '127.0.0.1:5000'\ndatabase = 'sqlite:///d'\nstorage = 'file:///s'\nurl = 'http://api.test'\n\
             web_url = 'http://{{app}}.test/'\nstack = 'openruko-12'\ntemplate = 'openruko-build'\n\
             components = {{ serve = '{digest}' }}\n{more}"
        );
        let config: ruko_core::config::Config =
            ruko_core::config::Config::parse(&format!("[api]\n{text}"), std::iter::empty()).unwrap();
        Stacks::from(config.api().unwrap())
    }

    fn name(name: &str) -> StackName {
        name.parse().unwrap()
    }

    #[test]
    fn the_stack_of_new_apps_shares_the_hosts_userland_unless_said_otherwise() {
        let alone = stacks("");
        assert_eq!(alone.get(&name("openruko-12")).template.as_str(), "openruko-build");
        assert_eq!(alone.to_run(&name("openruko-12")), None);
        let known = stacks("stacks.openruko-12 = { image = 'base', heroku = 'heroku-24' }\n");
        let base = known.get(&name("openruko-12"));
        assert_eq!((base.template.as_str(), base.image), ("openruko-stack", Some(name("base"))));
        assert_eq!(base.heroku, Some(name("heroku-24")));
    }

    #[test]
    fn a_stack_that_is_gone_is_not_replaced_by_another() {
        let gone = stacks("").to_run(&name("debian-11")).unwrap();
        assert_eq!((gone.template.as_str(), gone.image.as_str()), ("openruko-stack", "debian-11"));
    }

    #[test]
    fn stacks_are_found_by_name_and_by_id_and_listed() {
        let stacks = stacks("stacks.debian-13 = { image = 'debian-13' }\n");
        let id_of = |name: &str| format!("id of {name}");
        assert_eq!(stacks.find("debian-13", id_of), Some(&name("debian-13")));
        assert_eq!(stacks.find("id of openruko-12", id_of), Some(&name("openruko-12")));
        assert_eq!(stacks.find("cedar-14", id_of), None);
        assert_eq!(stacks.listed(), "`debian-13`, `openruko-12` (of new apps)");
    }
}
