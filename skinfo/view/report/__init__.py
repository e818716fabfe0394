"""The report: a flow table as one page that needs no network, to send to a colleague."""

from skinfo.view.report.writing import make_report, write_report

__all__ = ["make_report", "write_report"]
