"""Engineering telemetry: values of named quantities (MSIDs) as functions of time."""
