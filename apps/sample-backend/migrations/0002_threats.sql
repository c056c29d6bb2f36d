-- Each list and chart of threats is answered from one index.

CREATE INDEX threats_by_severity ON threats (severity, published_at, id);
CREATE INDEX threats_by_source ON threats (source, published_at, id);
CREATE INDEX threats_by_source_and_severity ON threats (source, severity, published_at, id);
