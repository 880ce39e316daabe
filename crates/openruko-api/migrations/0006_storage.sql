-- Retention: what of storage is not kept any more, until it is deleted there.

ALTER TABLE slugs ADD COLUMN gone_at BIGINT; -- since when its object is not kept
ALTER TABLE pushes ADD COLUMN swept BIGINT NOT NULL DEFAULT 0; -- 1: what it stored and never committed is not kept
ALTER TABLE apps ADD COLUMN cache_gone_at BIGINT; -- when its build cache was let go for want of pushes
ALTER TABLE discarded_objects ADD COLUMN handed_at BIGINT; -- when somebody was told last to delete it
CREATE INDEX slugs_by_object ON slugs (object_key);
CREATE INDEX repo_versions_by_object ON repo_versions (object_key);
CREATE INDEX pushes_unswept ON pushes (status, ended_at) WHERE swept = 0;

-- Everything below a place was never deleted by anybody: objects have names.
DELETE FROM discarded_objects WHERE object_key LIKE '%/';
