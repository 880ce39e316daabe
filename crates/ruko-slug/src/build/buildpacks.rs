//! The buildpacks of a build: which they are, and what each of them does.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;

use ruko_core::ProcessType;
use ruko_core::exit::chain;
use ruko_core::message::detail;

use super::Build;
use crate::buildpack::fetch::Source;
use crate::buildpack::reference::Reference;
use crate::buildpack::survey::Survey;
use crate::buildpack::{Buildpack, Detected, Directories, ScriptError};
use crate::env::{EnvDir, Environment, Facts, Timeouts};
use crate::output::{Lines, Output};
use crate::refusal::{Refusal, Refuse};
use crate::stack;

/// What an app's list of buildpacks may hold.
const MAX_BUILDPACKS: usize = 20;

/// What is read of `.buildpacks`, in bytes.
const MAX_LIST: u64 = 64 << 10;

/// A buildpack that takes part in a build, with the name that it gave the app if it was asked already.
struct Chosen {
    reference: Reference,
    name: Option<String>,
}

/// A buildpack that compiled, or tried to.
struct Used {
    /// What it calls the app.
    name: String,
    buildpack: Buildpack,
}

impl Build<'_> {
    fn environment(&self) -> Environment {
        Environment::new(&Facts {
            home: &self.layout.home,
            stack: &stack::value(self.request.heroku_stack.as_ref(), &self.request.stack),
            source_version: self.version,
            request_id: &self.request.request_id,
            extra: &self.request.env,
        })
    }

    fn source(&self) -> Source<'_> {
        let (host, app) = (self.request.env.iter(), self.request.config_vars.iter());
        let host = host.map(|(name, value)| (name.as_str(), value.as_str()));
        let timeouts = Timeouts::of(host.chain(app.map(|(name, value)| (name.as_str(), value.as_str()))));
        Source { shipped: &self.layout.buildpacks, env: &self.request.env, timeouts }
    }

    /// The buildpacks that the app names: by config var, by its list, or by a file. None means detect.
    fn named(&self) -> Result<Vec<Reference>, Refusal> {
        let config_var = self.request.config_vars.iter().find(|(name, _)| name.as_str() == "BUILDPACK_URL");
        let names: Vec<String> = match config_var {
            Some((_, url)) if !url.trim().is_empty() => vec![url.clone()],
            _ if !self.request.buildpacks.is_empty() => self.request.buildpacks.clone(),
            _ => self.listed_in_file()?,
        };
        if names.len() > MAX_BUILDPACKS {
            let count = names.len();
            return Err(Refusal::new(format!(
                "Push rejected: the app names {count} buildpacks, and {MAX_BUILDPACKS} is the limit."
            )));
        }
        names.iter().map(|name| name.parse().refuse("Push rejected")).collect()
    }

    /// `.buildpacks`: one a line.
    fn listed_in_file(&self) -> Result<Vec<String>, Refusal> {
        let path = self.dir.join(".buildpacks");
        // A fifo would wait for ever, and a directory is no list.
        if !path.is_file() {
            return Ok(vec![]);
        }
        let mut text = String::new();
        let reading = fs::File::open(&path).and_then(|file| file.take(MAX_LIST).read_to_string(&mut text));
        reading.refuse("Push rejected: cannot read .buildpacks")?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(lines.map(str::to_owned).collect())
    }

    /// Runs the buildpacks in order. Gives the names that they gave the app, and the process types of the
    /// last one's release document.
    pub(super) fn run_buildpacks(
        &self,
        output: &mut Output,
    ) -> Result<(Vec<String>, BTreeMap<ProcessType, String>), Refusal> {
        let env_dir = EnvDir::write(self.layout.env_dir(&self.id), &self.request.config_vars)
            .refuse("Push rejected: cannot write ENV_DIR")?;
        let cache = self.layout.cache();
        let dirs = Directories { build: &self.dir, cache: &cache, env: env_dir.path() };
        let env = self.environment();
        let mut used = vec![];
        let outcome = self
            .compile_all(&dirs, &env, &mut used, output)
            .and_then(|()| self.default_process_types(&used, &env, output));
        report(&used, &dirs, &env, output);
        Ok((used.into_iter().map(|used| used.name).collect(), outcome?))
    }

    /// Adds each buildpack to `used` before it compiles, so that also one that fails can report.
    fn compile_all(
        &self,
        dirs: &Directories<'_>,
        first: &Environment,
        used: &mut Vec<Used>,
        output: &mut Output,
    ) -> Result<(), Refusal> {
        let mut env = first.clone();
        let named = self.named()?;
        let chosen: Vec<Chosen> = if named.is_empty() {
            vec![self.survey(first, output)?]
        } else {
            named.into_iter().map(|reference| Chosen { reference, name: None }).collect()
        };
        let count = chosen.len();
        for (n, Chosen { reference, name }) in chosen.into_iter().enumerate() {
            let buildpack = self.fetch(&reference, n, output)?;
            let name = match name {
                Some(name) => name,
                None => self.check_detected(&buildpack, &reference, &env, output)?,
            };
            output.step(format!("{name} app detected"));
            used.push(Used { name: name.clone(), buildpack: buildpack.clone() });
            compile(&buildpack, &name, dirs, &env, output)?;
            if n + 1 < count {
                let exported = buildpack.export(&self.dir, &env);
                env = explained(exported, &name, output)?.unwrap_or(env);
            }
        }
        Ok(())
    }

    /// What the last buildpack's release document says. The buildpack runs without what others exported.
    fn default_process_types(
        &self,
        used: &[Used],
        env: &Environment,
        output: &mut Output,
    ) -> Result<BTreeMap<ProcessType, String>, Refusal> {
        let Some(Used { name, buildpack }) = used.last() else {
            return Err(Refusal::new("Push rejected: no buildpack was chosen."));
        };
        let release = explained(buildpack.release(&self.dir, env), name, output)?;
        for warning in &release.warnings {
            output.trouble(format!("The buildpack's release document {warning}"));
        }
        Ok(release.default_process_types)
    }

    /// Asks the buildpacks that ship; the first in their order that takes the app is it.
    fn survey(&self, env: &Environment, output: &mut Output) -> Result<Chosen, Refusal> {
        let survey = Survey::of(&self.source(), &self.dir, env).refuse("Push rejected")?;
        let rivals = survey.rivals();
        if let Some(first) = rivals.first() {
            output.trouble(format!(
                "Several buildpacks take this app: {}. The first of them, {first}, is used.\nName another one in the \
                 config var BUILDPACK_URL, or several in a file .buildpacks, one a line.",
                rivals.join(", ")
            ));
        }
        if let Some((shipped, called)) = survey.takers.into_iter().next() {
            return Ok(Chosen { reference: Reference::Shipped(shipped.name), name: Some(called) });
        }
        output.trouble("No buildpack recognises this app. They look for:");
        for (name, wanted) in survey.others {
            output.trouble(format!("  {name}: {wanted}"));
        }
        output.trouble("Name a buildpack by its git URL in the config var BUILDPACK_URL.");
        Err(Refusal::new("Push rejected, no buildpack recognises the app."))
    }

    fn fetch(&self, reference: &Reference, n: usize, output: &mut Output) -> Result<Buildpack, Refusal> {
        if !matches!(reference, Reference::Shipped(_)) {
            output.step(format!("Fetching the buildpack {reference}"));
        }
        let dir = self.layout.buildpack(&self.id, n);
        self.source().fetch(reference, &dir).refuse("Push rejected")?;
        Ok(Buildpack::new(dir))
    }

    fn check_detected(
        &self,
        buildpack: &Buildpack,
        reference: &Reference,
        env: &Environment,
        output: &mut Output,
    ) -> Result<String, Refusal> {
        match buildpack.detect(&self.dir, env).refuse("Push rejected")? {
            Detected::Yes(name) => Ok(name),
            Detected::No(why) => {
                output.trouble(format!("The buildpack {reference} did not find what it looks for:"));
                show(&why, output);
                Err(Refusal::new(format!(
                    "Push rejected, the buildpack {reference} does not recognise the app."
                )))
            }
        }
    }
}

/// Everything that a script said on stderr, when that is why a push fails.
fn show(said: &str, output: &mut Output) {
    for line in said.lines() {
        output.build_line(&detail(line.trim_end()));
    }
}

/// A script's failure is the app's failure to compile, and what the script said of it comes first.
fn explained<T>(outcome: Result<T, ScriptError>, name: &str, output: &mut Output) -> Result<T, Refusal> {
    if let Err(ScriptError::Failed { said, .. }) = &outcome {
        show(said, output);
    }
    outcome.refuse(failed_to_compile(name))
}

/// What buildpacks have to say of a build, however it went, is kept in its record.
fn report(used: &[Used], dirs: &Directories<'_>, env: &Environment, output: &mut Output) {
    for Used { name, buildpack } in used {
        match buildpack.report(dirs, env) {
            None => {}
            Some(Ok(report)) => {
                for line in report.lines() {
                    output.note(format!("{name} reports: {}", line.replace(char::is_control, " ")));
                }
            }
            Some(Err(e)) => output.note(format!("{name} reports nothing: {}", chain(&e))),
        }
    }
}

fn failed_to_compile(name: &str) -> String {
    format!("Push rejected, failed to compile {name} app")
}

fn compile(
    buildpack: &Buildpack,
    name: &str,
    dirs: &Directories<'_>,
    env: &Environment,
    output: &mut Output,
) -> Result<(), Refusal> {
    let mut lines = Lines::default();
    let ended =
        buildpack.compile(dirs, env, &mut |bytes| lines.push(bytes, &mut |line| output.build_line(line)));
    lines.finish(&mut |line| output.build_line(line));
    let ended = ended.refuse(failed_to_compile(name))?;
    if ended.leftovers > 0 {
        output.detail(format!("Stopped processes that the buildpack left running: {}", ended.leftovers));
    }
    if ended.status.success() { Ok(()) } else { Err(Refusal::new(format!("{}.", failed_to_compile(name)))) }
}
