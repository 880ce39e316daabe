//! Who may do what with an app: the one place where that is decided.

use std::fmt;

use ruko_api_types::platform::BadPermission;
pub use ruko_api_types::platform::Permission;
use sqlx::AnyConnection;

use crate::errors::{Answer, ApiFault};
use crate::store::apps::AppRow;
use crate::store::users::UserRow;
use crate::store::{Sql, collaborators};

/// In the order in which Heroku lists them.
const LISTED: [Permission; 4] =
    [Permission::Deploy, Permission::Manage, Permission::Operate, Permission::View];

const fn bit(permission: Permission) -> u8 {
    match permission {
        Permission::View => 1,
        Permission::Deploy => 2,
        Permission::Operate => 4,
        Permission::Manage => 8,
    }
}

/// A set of permissions. Whoever has any may view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permissions(u8);

impl Permissions {
    /// What a collaborator gets when nothing is said: what Heroku gives to those of a personal app.
    pub(crate) const USUAL: Self =
        Self(bit(Permission::View) | bit(Permission::Deploy) | bit(Permission::Operate));

    /// Everything that can be given.
    pub(crate) const EVERYTHING: Self = Self(Self::USUAL.0 | bit(Permission::Manage));

    /// Those that are named, and the view.
    pub(crate) fn of(named: &[Permission]) -> Self {
        Self(named.iter().fold(bit(Permission::View), |set, permission| set | bit(*permission)))
    }

    pub(crate) fn has(self, permission: Permission) -> bool {
        self.0 & bit(permission) != 0
    }

    /// Those that `other` has as well. Whoever has any may view, so the view is always among them.
    pub(crate) fn within(self, other: Self) -> Self {
        Self(self.0 & other.0 | bit(Permission::View))
    }

    /// Those that `other` does not have.
    pub(crate) fn beyond(self, other: Self) -> impl Iterator<Item = Permission> {
        self.list().filter(move |permission| !other.has(*permission))
    }

    /// In the order in which Heroku lists them.
    pub(crate) fn list(self) -> impl Iterator<Item = Permission> {
        LISTED.into_iter().filter(move |permission| self.has(*permission))
    }
}

impl std::str::FromStr for Permissions {
    type Err = BadPermission;

    /// As the database has them: words with a space between.
    fn from_str(raw: &str) -> Result<Self, BadPermission> {
        let named: Result<Vec<Permission>, _> = raw.split_whitespace().map(str::parse).collect();
        named.map(|named| Self::of(&named))
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.list().map(Permission::as_str).collect::<Vec<_>>().join(" "))
    }
}

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A permission on the app.
    Permission(Permission),
    /// To be its owner: for what cannot be undone or gives the app away.
    Ownership,
}

/// What a user is to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// One who looks after the whole installation.
    SiteAdmin,
    Owner,
    Collaborator(Permissions),
    Stranger,
}

impl Role {
    /// The whole table of rights, in five lines.
    pub(crate) fn may(self, need: Need) -> bool {
        match (self, need) {
            (Self::SiteAdmin | Self::Owner, _) => true,
            (Self::Collaborator(permissions), Need::Permission(permission)) => permissions.has(permission),
            (Self::Collaborator(_), Need::Ownership) | (Self::Stranger, _) => false,
        }
    }

    /// What one may give to others: no more than one has.
    pub(crate) fn may_give(self) -> Option<Permissions> {
        match self {
            Self::SiteAdmin | Self::Owner => Some(Permissions::EVERYTHING),
            Self::Collaborator(own) if own.has(Permission::Manage) => Some(own),
            Self::Collaborator(_) | Self::Stranger => None,
        }
    }
}

/// What the user is to the app.
pub(crate) async fn role(db: &mut AnyConnection, user: &UserRow, app: &AppRow) -> Sql<Role> {
    if app.owner_id == user.id {
        return Ok(Role::Owner);
    }
    if user.site_admin {
        return Ok(Role::SiteAdmin);
    }
    let permissions = collaborators::permissions(db, &app.id, &user.id).await?;
    Ok(permissions.map_or(Role::Stranger, Role::Collaborator))
}

/// Passes if the user may; a stranger is told that there is no such app, as of one that does not exist.
pub(crate) async fn require(db: &mut AnyConnection, user: &UserRow, app: &AppRow, need: Need) -> Answer<()> {
    match role(db, user, app).await? {
        role if role.may(need) => Ok(()),
        Role::Stranger => Err(ApiFault::no_such_app()),
        _ => Err(ApiFault::lacks(need, &app.name, &app.owner)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(named: &[Permission]) -> Role {
        Role::Collaborator(Permissions::of(named))
    }

    #[test]
    fn a_collaborator_has_what_was_given_and_no_more() {
        let needs = Permission::ALL.map(Need::Permission);
        for need in needs {
            assert!(Role::Owner.may(need) && Role::SiteAdmin.may(need));
            assert!(!Role::Stranger.may(need));
            assert_eq!(given(&[]).may(need), need == Need::Permission(Permission::View));
        }
        let deployer = given(&[Permission::Deploy]);
        assert!(deployer.may(Need::Permission(Permission::Deploy)));
        assert!(!deployer.may(Need::Permission(Permission::Operate)));
        assert!(!given(&Permission::ALL).may(Need::Ownership));
        assert!(Role::Owner.may(Need::Ownership) && Role::SiteAdmin.may(Need::Ownership));
    }

    #[test]
    fn only_managers_give_and_none_gives_more_than_they_have() {
        assert_eq!(Role::Owner.may_give(), Some(Permissions::EVERYTHING));
        assert_eq!(given(&[Permission::Deploy, Permission::Operate]).may_give(), None);
        assert_eq!(Role::Stranger.may_give(), None);
        let own = given(&[Permission::Manage]).may_give().unwrap();
        assert_eq!(Permissions::USUAL.within(own), Permissions::of(&[]));
        assert_eq!(
            Permissions::USUAL.beyond(own).collect::<Vec<_>>(),
            [Permission::Deploy, Permission::Operate]
        );
    }

    #[test]
    fn permissions_are_words_with_a_space_between() {
        assert_eq!(Permissions::USUAL.to_string(), "deploy operate view");
        assert_eq!("deploy operate view".parse::<Permissions>().unwrap(), Permissions::USUAL);
        assert!("deploy fly".parse::<Permissions>().is_err());
    }
}
