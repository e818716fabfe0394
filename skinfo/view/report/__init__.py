"""The report: a flow table as one page that needs no network, to send to a colleague."""
