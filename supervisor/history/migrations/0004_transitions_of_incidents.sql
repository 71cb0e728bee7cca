-- The trouble that a change of phase is a part of, so that one id leads from the log to the history and back.
ALTER TABLE transitions ADD COLUMN incident TEXT;
