-- What of old releases is kept no more: which still have their config vars, and the latest release of a slug.

CREATE INDEX releases_with_config_vars ON releases (app_id, version) WHERE config_vars IS NOT NULL;
DROP INDEX releases_of_slug;
CREATE INDEX releases_of_slug ON releases (slug_id, app_id, version);
