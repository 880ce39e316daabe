//! A host that runs nothing and says what a test wants.

use ruko_api_client::ApiClient;
use ruko_api_types::host::{AppToRun, DynoReport, DynoReports, Switch};
use ruko_api_types::platform::DynoState;

use super::world::{HOST, World};

pub(crate) struct Host {
    pub(crate) api: ApiClient,
}

impl Host {
    pub(crate) fn of(world: &World) -> Self {
        Self { api: world.client(HOST) }
    }

    /// Everything that should run.
    pub(crate) fn apps(&self) -> Vec<AppToRun> {
        let all = self.api.apps_to_run(0, 0).unwrap().unwrap();
        assert!(!all.more && all.gone.is_empty(), "{all:?}");
        all.apps
    }

    /// What should run of an app.
    pub(crate) fn app(&self, name: &str) -> AppToRun {
        self.apps().into_iter().find(|app| app.app.name.as_str() == name).expect("the app is told of")
    }

    pub(crate) fn shop(&self) -> AppToRun {
        self.app("shop")
    }

    pub(crate) fn report(&self, dynos: &[DynoReport]) {
        self.api.report_dynos(&DynoReports { dynos: dynos.to_vec(), ..DynoReports::default() }).unwrap();
    }

    pub(crate) fn gone(&self, id: &str) {
        let gone = vec![id.to_owned()];
        self.api.report_dynos(&DynoReports { gone, ..DynoReports::default() }).unwrap();
    }

    /// A dyno of an app that runs a release.
    pub(crate) fn dyno(&self, app: &AppToRun, release: u64, name: &str, state: DynoState) -> DynoReport {
        DynoReport {
            id: ulid::Ulid::generate().to_string(),
            app: app.app.id.clone(),
            name: name.parse().unwrap(),
            release,
            generation: 0,
            state,
            since: 1_795_381_402_000,
            address: (state == DynoState::Up).then(|| "10.9.0.2:5000".parse().unwrap()),
            command: "python app.py".to_owned(),
            size: "Basic".to_owned(),
            exit_status: (state == DynoState::Crashed).then_some(1),
        }
    }

    /// Reports a dyno of `shop` as up.
    pub(crate) fn up(&self, release: u64, name: &str) -> DynoReport {
        let dyno = self.dyno(&self.shop(), release, name, DynoState::Up);
        self.report(std::slice::from_ref(&dyno));
        dyno
    }

    /// The candidate of `shop` proves itself: one web dyno is up and gets requests.
    pub(crate) fn serves(&self, release: u64) -> DynoReport {
        let dyno = self.up(release, "web.1");
        self.switch(release, &[&dyno]);
        dyno
    }

    pub(crate) fn switch(&self, release: u64, dynos: &[&DynoReport]) {
        self.try_switch(release, dynos).unwrap();
    }

    pub(crate) fn try_switch(
        &self,
        release: u64,
        dynos: &[&DynoReport],
    ) -> Result<(), ruko_api_client::ApiClientError> {
        let switch = Switch { release, dynos: dynos.iter().map(|dyno| dyno.id.clone()).collect() };
        self.api.switch(&self.shop().app.id, &switch)
    }
}
