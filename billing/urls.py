"""The usage pages, below /api/v1/."""

from django.urls import re_path

from billing import views

urlpatterns = [
    re_path(r"^usage/?$", views.Usage.as_view(), name="usage"),
    re_path(r"^usage/current/?$", views.CurrentUsage.as_view(), name="usage-current"),
    re_path(r"^usage/export/?$", views.UsageExport.as_view(), name="usage-export"),
]
